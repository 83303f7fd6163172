package apikey

// Generate makes the text of a key for the tests of its form.
var Generate = generate
