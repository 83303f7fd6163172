package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// OK is success on the Platform API. M is the answer's meta: Meta, Paged, or a
// type of the operation.
type OK[T, M any] struct {
	Success bool `json:"success" enum:"true"`
	Data    T    `json:"data"`
	Meta    M    `json:"meta"`
}

// Ok wraps data and meta.
func Ok[T, M any](data T, meta M) *OK[T, M] { return &OK[T, M]{true, data, meta} }

// Meta is the meta of answers that have nothing to add but perhaps a message.
type Meta struct {
	Message string `json:"message,omitempty"`
}

// Paged is the meta of lists.
type Paged struct {
	Pagination Pagination `json:"pagination"`
	NextCursor string     `json:"nextCursor,omitempty" doc:"On long lists; send it as cursor for what follows."`
}

// Pagination says where in a list a page is.
type Pagination struct {
	Total int64 `json:"total"`
	Page  int   `json:"page"`
	Limit int   `json:"limit"`
	Pages int64 `json:"pages"`
}

// Page is the input of lists; embed it.
type Page struct {
	Page  int `query:"page" minimum:"1" maximum:"1000000" default:"1" doc:"From 1."`
	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Entries per page."`
}

// Offset returns how many entries come before the page.
func (p Page) Offset() int { return (p.Page - 1) * p.Limit }

// Of returns the meta of this page of a list of total entries.
func (p Page) Of(total int64) Paged {
	limit := int64(p.Limit)
	return Paged{Pagination: Pagination{Total: total, Page: p.Page, Limit: p.Limit, Pages: (total + limit - 1) / limit}}
}

// Sealer seals small values to a place; seal.Keys is one.
type Sealer interface {
	Seal(place string, plain []byte) []byte
	Open(place string, sealed []byte) ([]byte, error)
}

// Cursor returns an opaque text for a position in a list. It opens again only
// for the same operation, organization, user and filter.
func Cursor(ctx context.Context, filter, position any) (string, error) {
	plain, err := json.Marshal(position)
	if err != nil {
		return "", fmt.Errorf("encode a cursor: %w", err)
	}
	place, err := cursorPlace(ctx, filter)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(stateOf(ctx).door.cfg.Sealer.Seal(place, plain)), nil
}

// OpenCursor reads a position back into a pointer. Anything else than a cursor
// of this list is ErrCursor.
func OpenCursor(ctx context.Context, cursor string, filter, position any) error {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(cursor) > maxCredential {
		return ErrCursor
	}
	place, err := cursorPlace(ctx, filter)
	if err != nil {
		return err
	}
	plain, err := stateOf(ctx).door.cfg.Sealer.Open(place, sealed)
	if err != nil || json.Unmarshal(plain, position) != nil {
		return ErrCursor
	}
	return nil
}

func cursorPlace(ctx context.Context, filter any) (string, error) {
	st := stateOf(ctx)
	if st == nil || st.door.cfg.Sealer == nil {
		return "", fmt.Errorf("a cursor needs a door with a Sealer")
	}
	p := Principal(ctx)
	who := p.User
	if who == "" {
		who = p.ID
	}
	bound, err := json.Marshal([]any{st.op.pattern, p.Tenant, p.Organization, who, filter})
	if err != nil {
		return "", fmt.Errorf("encode a cursor's filter: %w", err)
	}
	sum := sha256.Sum256(bound)
	return "cursor:" + base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
