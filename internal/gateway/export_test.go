package gateway

// TemplateMatches is templateMatches, for its table.
var TemplateMatches = templateMatches
