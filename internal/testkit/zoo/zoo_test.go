package zoo_test

import (
	"testing"

	"headgate/internal/testkit/zoo"
)

func TestEveryKindIsShown(t *testing.T) {
	shown, names := map[zoo.Kind]bool{}, map[string]bool{}
	for k := range zoo.Elsewhere() {
		shown[k] = true
	}
	for _, c := range zoo.Cages() {
		if shown[c.Kind] = true; names[c.Name] || len(c.Ends) == 0 {
			t.Errorf("%q is there twice, or ends in no way", c.Name)
		}
		names[c.Name] = true
	}
	for _, l := range zoo.Lists() {
		if shown[l.Kind] = true; names[l.Name] {
			t.Errorf("%q is there twice", l.Name)
		}
		names[l.Name] = true
	}
	for _, k := range zoo.Kinds {
		if !shown[k] {
			t.Errorf("nothing shows %q", k)
		}
		delete(shown, k)
	}
	if len(shown) > 0 {
		t.Errorf("no kind: %v", shown)
	}
}
