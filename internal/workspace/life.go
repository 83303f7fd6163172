package workspace

import (
	"context"
	"fmt"

	"headgate/internal/access"
	"headgate/internal/db"
)

// hooks join what others keep of a workspace to its life.
type hooks struct {
	start   []func(ctx context.Context, w Workspace) (problem string, err error)
	restart []func(ctx context.Context, tx *db.Tx, w Workspace) error
	remove  []func(ctx context.Context, tx *db.Tx, w Workspace, r Removal) error
}

// OnStart registers a look at a workspace that is about to come online: a
// problem, for people, makes it failed. Call it, and the two below, while the
// program is composed.
func (s *Service) OnStart(fn func(ctx context.Context, w Workspace) (problem string, err error)) {
	s.hooks.start = append(s.hooks.start, fn)
}

// OnRestart registers what joins the transaction that restarts a workspace,
// such as new versions of its servers.
func (s *Service) OnRestart(fn func(ctx context.Context, tx *db.Tx, w Workspace) error) {
	s.hooks.restart = append(s.hooks.restart, fn)
}

// OnRemove registers what joins the transaction that removes a workspace.
func (s *Service) OnRemove(fn func(ctx context.Context, tx *db.Tx, w Workspace, r Removal) error) {
	s.hooks.remove = append(s.hooks.remove, fn)
}

// Start is the job that takes a workspace from provisioning to online.
type Start struct {
	Organization string `json:"organization"`
	Workspace    string `json:"workspace"`
}

// Kind implements jobs.Args.
func (Start) Kind() string { return "workspace.start" }

// system is who changes a workspace when nobody asked just now.
var system = &access.Principal{Kind: access.System, ID: "headgate", Name: "headgate"}

// Ready works a Start: it looks at a provisioning workspace and makes it
// online, or failed with a reason. Working it again changes nothing.
func (s *Service) Ready(ctx context.Context, job Start) error {
	w, err := s.Get(ctx, job.Organization, job.Workspace)
	if err != nil || w.Status != Provisioning {
		return ignoreGone(err)
	}
	problem := ""
	for _, look := range s.hooks.start {
		if problem, err = look(ctx, w); err != nil || problem != "" {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("look at workspace %s: %w", w.ID, err)
	}
	return ignoreGone(s.change(ctx, system, job.Organization, job.Workspace, func(tx *db.Tx, w *Workspace, _ []Workspace) error {
		if w.Status != Provisioning {
			return nil
		}
		w.Status, w.Reason = Online, ""
		action := "workspace.online"
		if problem != "" {
			w.Status, w.Reason, action = Failed, cut(problem, maxReason), "workspace.fail"
		}
		if err := s.put(ctx, tx, w); err != nil {
			return err
		}
		return record(ctx, tx, system, *w, action, map[string]any{"reason": w.Reason})
	}))
}

// Pause stops a workspace and everything below it from taking calls; reason is
// for people. It returns what it paused, the workspace itself first.
func (s *Service) Pause(ctx context.Context, by *access.Principal, organization, ref, reason string) (paused []Workspace, err error) {
	err = s.change(ctx, by, organization, ref, func(tx *db.Tx, w *Workspace, all []Workspace) error {
		if w.Status == Paused && w.PausedBy == w.ID {
			return ErrPausedBefore
		}
		paused = nil
		for i, each := range append([]Workspace{*w}, below(all, w.ID)...) {
			if i > 0 && each.Status == Paused {
				continue // paused by itself: it stays so when this one resumes
			}
			each.Status, each.Reason, each.PausedBy = Paused, cut(reason, maxReason), w.ID
			if i > 0 {
				each.Reason = cut("Paused together with "+w.Name+".", maxReason)
			}
			if err := s.put(ctx, tx, &each); err != nil {
				return err
			}
			paused = append(paused, each)
		}
		return record(ctx, tx, by, *w, "workspace.pause", map[string]any{"reason": cut(reason, maxReason), "paused": len(paused)})
	})
	return paused, err
}

// Resume lets a paused workspace take calls again, and those that were paused
// with it. It returns what it resumed, the workspace itself first.
func (s *Service) Resume(ctx context.Context, by *access.Principal, organization, ref string) (resumed []Workspace, err error) {
	err = s.change(ctx, by, organization, ref, func(tx *db.Tx, w *Workspace, all []Workspace) error {
		if w.Status != Paused {
			return ErrNotPaused
		}
		if above(all, *w, Paused) {
			return ErrParentPaused
		}
		by0 := w.PausedBy
		resumed = nil
		for i, each := range append([]Workspace{*w}, below(all, w.ID)...) {
			if i > 0 && (each.Status != Paused || each.PausedBy != by0) {
				continue
			}
			each.Status, each.Reason, each.PausedBy = Provisioning, "", ""
			if err := s.put(ctx, tx, &each); err != nil {
				return err
			}
			if err := s.begin(ctx, tx, each); err != nil {
				return err
			}
			resumed = append(resumed, each)
		}
		return record(ctx, tx, by, *w, "workspace.resume", map[string]any{"resumed": len(resumed)})
	})
	return resumed, err
}

// Restart makes a workspace's servers anew: calls in flight end with what they
// began with, later ones get new sessions and processes. An external
// workspace has nothing here to restart; restarted is false then.
func (s *Service) Restart(ctx context.Context, by *access.Principal, organization, ref string) (w Workspace, restarted bool, err error) {
	err = s.change(ctx, by, organization, ref, func(tx *db.Tx, at *Workspace, all []Workspace) error {
		w, restarted = *at, at.Runtime != External
		switch {
		case at.Status == Paused:
			return ErrPaused.Saying("This workspace is paused. Resume it instead.")
		case above(all, *at, Paused):
			return ErrParentPaused
		case !restarted:
			return nil
		}
		at.Status, at.Reason = Provisioning, ""
		if err := s.put(ctx, tx, at); err != nil {
			return err
		}
		for _, join := range s.hooks.restart {
			if err := join(ctx, tx, *at); err != nil {
				return err
			}
		}
		if err := s.begin(ctx, tx, *at); err != nil {
			return err
		}
		w = *at
		return record(ctx, tx, by, *at, "workspace.restart", nil)
	})
	return w, restarted, err
}

// above reports whether a workspace above w has the status.
func above(all []Workspace, w Workspace, status Status) bool {
	for w.Parent != "" {
		parent, ok := find(all, w.Parent)
		if !ok {
			return false
		}
		if parent.Status == status {
			return true
		}
		w = parent
	}
	return false
}

// change runs fn on a live workspace, among all of its organization, in one
// transaction that nobody else's change runs beside.
func (s *Service) change(ctx context.Context, by *access.Principal, organization, ref string, fn func(tx *db.Tx, w *Workspace, all []Workspace) error) error {
	if err := permit(by, organization); err != nil {
		return err
	}
	w, err := s.Get(ctx, organization, ref)
	if err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		all, err := s.In(ctx, tx, organization)
		if err != nil {
			return err
		}
		at, ok := find(all, w.ID)
		if !ok {
			return ErrGone
		}
		return fn(tx, &at, all)
	})
}

// put saves a workspace and says so.
func (s *Service) put(ctx context.Context, tx *db.Tx, w *Workspace) error {
	w.UpdatedAt = s.moment()
	if err := save(ctx, tx, *w); err != nil {
		return err
	}
	announce(tx, *w)
	return nil
}
