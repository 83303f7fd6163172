package cli

import "headgate/client"

// paging is the options of lists.
type paging struct {
	Page  int64 `placeholder:"N" default:"1" help:"Which page, from 1."`
	Limit int64 `placeholder:"N" default:"50" help:"Entries a page, at most 100."`
}

// more says on stderr what a page leaves out.
func (x *env) more(p client.Pagination) {
	if p.Page < p.Pages {
		x.hint("Page %d of %d (%d in all); --page %d shows the next.", p.Page, p.Pages, p.Total, p.Page+1)
	}
}

// optional is a pointer to a flag's value, or nil when it was left out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
