package rest_test

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	f := newFake(t)
	for _, c := range [][]string{
		{"GET", "/v1/things", ""}, {"GET", "/v1/things?limit=101", ""}, {"GET", "/v1/things/one", ""}, {"GET", "/v1/things/panic", ""},
		{"GET", "/v1/things/broken", ""}, {"GET", "/v1/things/two", ""}, {"PUT", "/v1/things/two", ""}, {"GET", "/v1//things", ""}, {"GET", "/v1/things/", ""},
		{"POST", "/v1/things", `{"name":"a","extra":{"n":9007199254740993}}`}, {"POST", "/v1/things", `{"Name":"a"}`}, {"POST", "/v1/things", `{"name":"a","name":"b"}`},
		{"POST", "/v1/things", `{"name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","link":"://secret","mail":"se cret","level":12,"secret":"SECRET","inner":{"kind":"zzz"},"x":1}`},
		{"POST", "/v1/things", ``}, {"POST", "/v1/things", `null`}, {"POST", "/v1/things", `[]`}, {"POST", "/v1/search", ``}, {"DELETE", "/v1/things/x", ``},
		{"GET", "/v1/public", ``}, {"GET", "/v1/events", ``}, {"GET", "/v1/keys", ``},
	} {
		w := f.call(c[0], c[1], c[2])
		t.Log(c, w.Code, w.Header(), w.Body.String())
	}
}
