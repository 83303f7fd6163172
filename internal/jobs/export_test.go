package jobs

import "context"

// ClaimAndDie takes what is due as a process does that dies before it has
// worked any of it.
func (r *Runner) ClaimAndDie(ctx context.Context) (int, error) {
	list, err := claim(ctx, r.store, r.owner, r.kinds, r.o.Now(), r.o.Lease, r.o.Workers)
	return len(list), err
}
