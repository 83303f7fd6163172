package testkit_test

import (
	"errors"
	"testing"

	"headgate/internal/fault"
	"headgate/internal/testkit"
)

// recorder is a testing.TB that notes failures instead of having them.
type recorder struct {
	testing.TB
	errors, fatals int
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.errors++ }
func (r *recorder) Fatalf(string, ...any) { r.fatals++; panic(r) }

// observe runs a verb and returns how often it reported an error and ended the test.
func observe(verb func(testing.TB)) (errors, fatals int) {
	r := &recorder{}
	defer func() {
		recover()
		errors, fatals = r.errors, r.fatals
	}()
	verb(r)
	return r.errors, r.fatals
}

func TestVerbs(t *testing.T) {
	broke := fault.New(fault.Invalid, "test.broke", "Broken.")
	cases := []struct {
		promise        string
		verb           func(testing.TB)
		errors, fatals int
	}{
		{"Must returns the value", func(t testing.TB) { testkit.Equal(t, testkit.Must(7, error(nil))(t), 7) }, 0, 0},
		{"Must ends the test on an error", func(t testing.TB) { testkit.Must(7, errors.New("no"))(t) }, 0, 1},
		{"Equal reports a difference", func(t testing.TB) { testkit.Equal(t, []int{1}, []int{2}) }, 1, 0},
		{"Fault accepts the code through wrapping", func(t testing.TB) { testkit.Fault(t, broke.Because(errors.New("x")), "test.broke") }, 0, 0},
		{"Fault reports another code", func(t testing.TB) { testkit.Fault(t, broke, "test.other") }, 1, 0},
		{"Fault reports the lack of an error", func(t testing.TB) { testkit.Fault(t, nil, "test.broke") }, 1, 0},
		{"Golden accepts what it holds", func(t testing.TB) { testkit.Golden(t, "golden.txt", []byte("as it was\n")) }, 0, 0},
		{"Golden reports a difference", func(t testing.TB) { testkit.Golden(t, "golden.txt", []byte("as it is\n")) }, 1, 0},
		{"Golden ends the test without a file", func(t testing.TB) { testkit.Golden(t, "absent.txt", nil) }, 0, 1},
	}
	for _, c := range cases {
		t.Run(c.promise, func(t *testing.T) {
			errors, fatals := observe(c.verb)
			testkit.Equal(t, [2]int{errors, fatals}, [2]int{c.errors, c.fatals})
		})
	}
}
