// Package id makes and reads Headgate's identifiers: a prefix that names the
// noun and a UUIDv7 in TypeID's text form ("srv_01jc..."; Crockford base32,
// 26 characters, sortable by time). Doors that promise plain uuids show the
// same id as one (UUID) and accept both forms (Parse).
package id
