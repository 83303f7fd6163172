package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// checkShape refuses, before anything costs more than a look, what could not
// be served anyway.
func (d *Door) checkShape(o *operation, r *http.Request) error {
	if path, err := url.PathUnescape(r.URL.EscapedPath()); err != nil || !plainText(path) {
		return ErrURL
	}
	if r.ContentLength > d.maxBody(o) {
		return ErrTooLarge
	}
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	if r.Header.Get("Content-Encoding") != "" {
		return ErrMediaType
	}
	want := o.rawType
	if want == "" {
		want = "application/json"
	}
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != want {
		return ErrMediaType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return ErrMediaType
	}
	return nil
}

func plainText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func (d *Door) maxBody(o *operation) int64 {
	if o.MaxBody > 0 {
		return o.MaxBody
	}
	return d.cfg.MaxBody
}

// readBody reads the whole body, checks it strictly and puts it back for huma.
// No body is {} where no field is needed; an operation without fields takes
// none but {}.
func (d *Door) readBody(o *operation, w http.ResponseWriter, r *http.Request) error {
	var body []byte
	if r.Body != nil && r.Body != http.NoBody {
		var err error
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, d.maxBody(o)))
		var large *http.MaxBytesError
		switch {
		case errors.As(err, &large):
			return ErrTooLarge
		case err != nil:
			return ErrUnreadable.Saying("The body could not be read to its end.").Because(err)
		}
	}
	if o.rawType != "" {
		r.Body = io.NopCloser(bytes.NewReader(body))
		return nil
	}
	if len(body) == 0 && o.takesBody && !o.bodyNeed {
		body = []byte("{}")
	}
	if len(body) > 0 {
		if err := checkObject(body); err != nil {
			return err
		}
	}
	if !o.takesBody && len(body) > 0 && len(bytes.Join(bytes.Fields(body), nil)) > len("{}") {
		return ErrInvalid.Saying("This operation takes no fields in the body.")
	}
	if o.takesBody && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// writeRendered is huma's marshaler: everything is rendered before it.
func writeRendered(w io.Writer, v any) error {
	_, err := w.Write(v.(rendered))
	return err
}
