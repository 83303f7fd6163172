package client

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The setters of generated parameter structs. A zero value is not sent.

func (r *call) queryText(name, v string) {
	if v == "" {
		return
	}
	if r.query == nil {
		r.query = url.Values{}
	}
	r.query.Set(name, v)
}

func (r *call) queryInt(name string, v int64) {
	if v != 0 {
		r.queryText(name, strconv.FormatInt(v, 10))
	}
}

func (r *call) queryTime(name string, v time.Time) {
	if !v.IsZero() {
		r.queryText(name, v.UTC().Format(time.RFC3339Nano))
	}
}

func (r *call) queryBool(name string, v bool) {
	if v {
		r.queryText(name, "true")
	}
}

func (r *call) queryFlag(name string, v *bool) {
	if v != nil {
		r.queryText(name, strconv.FormatBool(*v))
	}
}

// queryList joins with commas, the form of huma's list parameters.
func (r *call) queryList(name string, v []string) { r.queryText(name, strings.Join(v, ",")) }

func (r *call) headerText(name, v string) {
	if v == "" {
		return
	}
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, v)
}
