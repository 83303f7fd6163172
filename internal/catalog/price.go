package catalog

import (
	"context"
	"errors"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
)

// What a price is for.
const (
	opTool = "tool"
	opRead = "read"
)

// Prices are what the use of a service costs at a moment.
type Prices struct {
	Default        int64
	Read           int64
	ChargeRejected bool
	Tools          map[string]int64 // overrides
}

// PriceChange changes the prices that are set.
type PriceChange struct {
	Default        *int64
	Read           *int64
	ChargeRejected *bool
	Tools          map[string]*int64 // nil takes the override away
}

// Prices returns what a service costs: now when at is zero, else at that
// moment. Whether refusals are charged has no history.
func (c *Catalog) Prices(ctx context.Context, by *access.Principal, service string, at time.Time) (*Prices, error) {
	s, err := c.visible(ctx, by, service)
	if err != nil {
		return nil, err
	}
	rows, err := pricesAt(ctx, c.store, s.ID, at)
	if err != nil {
		return nil, err
	}
	p := &Prices{ChargeRejected: s.ChargeRejected, Tools: map[string]int64{}}
	for _, r := range rows {
		switch {
		case r.operation == opRead:
			p.Read = r.price
		case r.tool == "":
			p.Default = r.price
		default:
			p.Tools[r.tool] = r.price
		}
	}
	return p, nil
}

// SetPrices changes what a service costs from now on. Calls under way keep the
// price they were held for.
func (c *Catalog) SetPrices(ctx context.Context, by *access.Principal, service string, ch PriceChange) (*Prices, error) {
	if err := mayAdmin(by); err != nil {
		return nil, err
	}
	if err := ch.check(); err != nil {
		return nil, err
	}
	err := c.store.Tx(ctx, func(tx *db.Tx) error {
		s, err := ownService(ctx, tx, by, service)
		if err != nil {
			return err
		}
		if err := mayPrice(ctx, tx, by); err != nil {
			return err
		}
		changed, err := c.applyPrices(ctx, tx, s, ch)
		if err != nil || len(changed) == 0 {
			return err
		}
		tx.Changed("price", s.ID)
		return activity.Record(ctx, tx, by, activity.Event{Action: "service.price", TargetType: "service", TargetID: s.ID, Details: changed})
	})
	if err != nil {
		return nil, err
	}
	return c.Prices(ctx, by, service, time.Time{})
}

func (ch PriceChange) check() error {
	if len(ch.Tools) > maxTools {
		return ErrPrice.Saying("At most %d tools have a price of their own.", maxTools)
	}
	for tool, p := range ch.Tools {
		if err := checkTool(tool); err != nil {
			return err
		}
		if err := checkPrice(orPtr(p, 0)); err != nil {
			return err
		}
	}
	return errors.Join(checkPrice(orPtr(ch.Default, 0)), checkPrice(orPtr(ch.Read, 0)))
}

func checkTool(tool string) error {
	if tool == "" {
		return ErrInput.Saying("A tool's name is missing.").With("field", "tools")
	}
	return checkText("tool name", tool, 256, true)
}

// applyPrices writes the new prices and returns, for the event, what changed
// from and to.
func (c *Catalog) applyPrices(ctx context.Context, tx *db.Tx, s *Service, ch PriceChange) (map[string]any, error) {
	now := c.now()
	changed := map[string]any{}
	put := func(label, operation, tool string, price *int64) error {
		was, err := setPrice(ctx, tx, s.ID, operation, tool, price, now)
		if err == nil && !equalPtr(was, price) {
			changed[label] = map[string]any{"from": was, "to": price}
		}
		return err
	}
	if ch.Default != nil {
		if err := put("default", opTool, "", ch.Default); err != nil {
			return nil, err
		}
		s.Price = *ch.Default
	}
	if ch.Read != nil {
		if err := put("read", opRead, "", ch.Read); err != nil {
			return nil, err
		}
		s.ReadPrice = *ch.Read
	}
	for tool, price := range ch.Tools {
		if err := put("tool:"+tool, opTool, tool, price); err != nil {
			return nil, err
		}
	}
	if set(&s.ChargeRejected, ch.ChargeRejected) {
		changed["chargeRejected"] = s.ChargeRejected
	}
	if len(changed) == 0 {
		return nil, nil
	}
	if n, err := countTools(ctx, tx, s.ID); err != nil || n > maxTools {
		return nil, errors.Join(err, ErrPrice.Saying("At most %d tools have a price of their own.", maxTools))
	}
	return changed, saveService(ctx, tx, s)
}

func equalPtr(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

// setPrice puts a price in force from now on and ends the one before; nil only
// ends it. It returns the price before, nil when there was none.
func setPrice(ctx context.Context, tx *db.Tx, service, operation, tool string, price *int64, now time.Time) (was *int64, err error) {
	now = now.Truncate(time.Millisecond)
	old, err := currentPrice(ctx, tx, service, operation, tool)
	switch {
	case errors.Is(err, db.ErrNone):
	case err != nil:
		return nil, err
	default:
		was = &old.price
		if price != nil && *price == old.price {
			return was, nil
		}
		// Two changes within a millisecond, or a clock set back: history stays in order.
		if !now.After(old.since) {
			now = old.since.Add(time.Millisecond)
		}
		if err := endPrice(ctx, tx, service, operation, tool, now); err != nil {
			return nil, err
		}
	}
	if price == nil {
		return was, nil
	}
	return was, insertPrice(ctx, tx, service, operation, tool, *price, now)
}

// mayPrice returns ErrNotSeller unless the principal acts for a seller: the
// operator, or a tenant's home organization.
func mayPrice(ctx context.Context, q db.Querier, by *access.Principal) error {
	if operates(by) {
		return nil
	}
	home, err := isHome(ctx, q, by.Organization)
	if err == nil && !home {
		return ErrNotSeller
	}
	return err
}
