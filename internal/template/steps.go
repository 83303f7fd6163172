package template

import (
	"context"
	"errors"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/workspace"
)

// steps lists what is to be done, parents before children; a plan says for
// each workspace whether it is there.
func (s *Service) steps(ctx context.Context, organization string, res *Result, nodes []Node, plan bool) error {
	there, err := s.Workspaces.List(ctx, organization)
	if err != nil {
		return err
	}
	var walk func(nodes []Node)
	walk = func(nodes []Node) {
		for i := range nodes {
			st := Step{Name: nodes[i].Name, State: Waiting}
			if plan {
				st.State = Created
				for _, w := range there {
					if nodes[i].is(w) {
						st.State, st.Workspace = Updated, w.ID
					}
				}
			}
			res.Steps = append(res.Steps, st)
			walk(nodes[i].SubWorkspaces)
		}
	}
	walk(nodes)
	return nil
}

// run makes every workspace, each in a transaction of its own.
func (s *Service) run(ctx context.Context, by *access.Principal, res *Result, nodes []Node, tag string) {
	at := 0
	var walk func(nodes []Node, parent string, skip bool)
	walk = func(nodes []Node, parent string, skip bool) {
		for i := range nodes {
			st := &res.Steps[at]
			at++
			made := ""
			switch {
			case skip:
				st.State, st.Code, st.Error = Skipped, "template.parent_failed", "The workspace above it was not made."
			case ctx.Err() != nil:
				st.fail(ctx.Err())
			default:
				made = s.step(ctx, by, &res.Import, st, &nodes[i], parent, tag)
			}
			walk(nodes[i].SubWorkspaces, made, made == "")
		}
	}
	walk(nodes, "", false)
	if res.Mode == Reconcile && !res.failed() {
		s.reconcile(ctx, by, res, tag)
	}
}

func (r *Result) failed() bool {
	for _, st := range r.Steps {
		if st.State == Failed || st.State == Skipped {
			return true
		}
	}
	return false
}

// step makes or changes one workspace and returns its id; "" when it failed.
func (s *Service) step(ctx context.Context, by *access.Principal, imp *Import, st *Step, n *Node, parent, tag string) string {
	var w workspace.Workspace
	err := s.Store.Tx(ctx, func(tx *db.Tx) error {
		all, err := s.Workspaces.In(ctx, tx, by.Organization)
		if err != nil {
			return err
		}
		state := Created
		for _, known := range all {
			if n.is(known) {
				state, w = Updated, known
			}
		}
		if state == Updated {
			w, err = s.change(ctx, tx, by, w, all, n, parent)
		} else {
			w, err = s.build(ctx, tx, by, n, "", parent, tag)
		}
		if err != nil {
			return err
		}
		*st = Step{Name: n.Name, State: state, Workspace: w.ID}
		return s.note(ctx, tx, imp)
	})
	if err != nil {
		st.fail(err)
		return ""
	}
	return w.ID
}

// reconcile removes what an earlier import of the recipe has made and this one
// does not name.
func (s *Service) reconcile(ctx context.Context, by *access.Principal, res *Result, tag string) {
	named := map[string]bool{}
	for _, st := range res.Steps {
		named[st.Workspace] = true
	}
	there, err := s.Workspaces.List(ctx, by.Organization)
	if err != nil {
		res.ReconcileErrors = append(res.ReconcileErrors, "The workspaces cannot be listed.")
		return
	}
	for _, w := range there {
		if w.Template != tag || named[w.ID] || w.Default {
			continue
		}
		gone, err := s.Workspaces.Remove(ctx, by, by.Organization, w.ID, workspace.Removal{Name: w.Name, Tree: true})
		switch {
		case errors.Is(err, workspace.ErrGone): // with its parent
		case err != nil:
			var st Step
			st.fail(err)
			res.ReconcileErrors = append(res.ReconcileErrors, w.Name+": "+st.Error)
		default:
			res.Removed += len(gone)
			res.Steps = append(res.Steps, Step{Name: w.Name, State: Dropped, Workspace: w.ID})
		}
	}
}

// finish writes how the import ended.
func (s *Service) finish(ctx context.Context, by *access.Principal, res *Result) error {
	res.State = Done
	if res.failed() || len(res.ReconcileErrors) > 0 {
		res.State = FailedState
		for _, st := range res.Steps {
			if st.State == Created || st.State == Updated {
				res.State = Partly
			}
		}
	}
	ctx = context.WithoutCancel(ctx) // what was done is told, even to nobody
	return s.Store.Tx(ctx, func(tx *db.Tx) error {
		if err := s.note(ctx, tx, &res.Import); err != nil {
			return err
		}
		return event(ctx, tx, by, &res.Import, "import.end")
	})
}
