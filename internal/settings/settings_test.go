package settings_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headgate/internal/settings"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "h.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("flag beats environment beats file beats default", func(t *testing.T) {
		write("listen: 127.0.0.1:1\nlog-level: warn\nsign-up: open\nallow-networks: [10.0.0.0/8, 192.168.0.0/16]\n")
		s, err := settings.Load(file, env(map[string]string{"HEADGATE_LISTEN": "127.0.0.1:2", "HEADGATE_SIGN_UP": "invite"}), map[string]string{"listen": "127.0.0.1:3"})
		if err != nil {
			t.Fatal(err)
		}
		if s.Listen != "127.0.0.1:3" || s.SignUp != "invite" || s.LogLevel != "warn" || s.Data != "./data" || len(s.AllowNetworks) != 2 {
			t.Fatalf("got %+v", s)
		}
	})
	t.Run("every mistake is listed at once, no value is shown", func(t *testing.T) {
		write("lisen: x\ncredit-value: hunter2\n")
		_, err := settings.Load(file, env(map[string]string{"HEADGATE_SIGN_UP": "hunter2", "HEADGATE_DATABASE": "mysql://hunter2", "HEADGATE_ACTING_SERVICE": "changeme-changeme-changeme-changeme", "HEADGATE_EXTERNAL_ISSUER": "https://id.test"}), nil)
		if err == nil {
			t.Fatal("accepted")
		}
		for _, name := range []string{"lisen", "credit-value", "sign-up", "database", "acting-service", "external-audience", "external-jwks"} {
			if !strings.Contains(err.Error(), name+":") {
				t.Errorf("%s is not mentioned in:\n%v", name, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a value is shown:\n%v", err)
		}
	})
	t.Run("secrets print as dots", func(t *testing.T) {
		s, err := settings.Load("", env(map[string]string{"HEADGATE_DATABASE": "postgres://u:hunter2@h/d", "HEADGATE_SMTP": "smtp://u:hunter2@h:25"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := s.Print(&b); err != nil || strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "••••") {
			t.Fatalf("printed %s, %v", b.String(), err)
		}
	})
	t.Run("weak secrets are refused", func(t *testing.T) {
		for _, w := range []string{"", "short", strings.Repeat("a", 64), "changeme" + strings.Repeat("xyzw1234", 4)} {
			if !settings.Weak(w) {
				t.Errorf("%q passed", w)
			}
		}
		if settings.Weak("hb7Q2mZ0wK5vT8rY1pL4xN6cD9fG3jSa") {
			t.Error("a strong one failed")
		}
	})
}
