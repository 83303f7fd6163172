package settings_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
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
	t.Run("values are what they are", func(t *testing.T) {
		s, err := settings.Load("", env(map[string]string{"HEADGATE_SMTP": "smtp://u:hunter2@h:25", "HEADGATE_ALLOW_HOSTS": "a.test,b.test"}), nil)
		if err != nil {
			t.Fatal(err)
		}
		v := s.Values()
		for name, want := range map[string]any{"allow-hosts": []string{"a.test", "b.test"}, "allow-origins": []string{}, "max-connections": int64(10000), "drain": "25s",
			"listen": "127.0.0.1:8080", "smtp": "••••••••", "database": ""} {
			if !reflect.DeepEqual(v[name], want) {
				t.Errorf("%s is %#v, want %#v", name, v[name], want)
			}
		}
	})
	t.Run("each wrong value is refused with what is right", func(t *testing.T) {
		for _, c := range []struct{ name, value, says string }{
			{"listen", "127.0.0.1", "host:port"}, {"listen", "127.0.0.1:", "host:port"}, {"listen", "127.0.0.1:http", "host:port"}, {"listen", "127.0.0.1:65536", "host:port"},
			{"internal-listen", "9090", "host:port"}, {"data", "", "directory"}, {"database", "mysql://h/d", "postgres://"}, {"base-url", "mcp.example.com", "http or https"},
			{"allow-networks", "10.1.0.0/99", "10.1.0.0/16"}, {"trusted-proxies", "10.1.0.1", "10.1.0.0/16"}, {"smtp", "mail.example.com", "smtp://"}, {"mail-from", "x", "mail address"},
			{"sign-up", "maybe", "open, invite, closed"}, {"keep-calls", "30d", "24h"}, {"keep-bodies", "-1h", "above zero"}, {"drain", "0s", "above zero"},
			{"credit-value", "1.5", "whole number"}, {"max-connections", "0", "above zero"}, {"acting-service", "hga_short", "32 bytes"}, {"external-secret", "short", "32 bytes"},
			{"external-jwks", "https://id.test/jwks", "external-issuer"},
		} {
			_, err := settings.Load("", env(nil), map[string]string{c.name: c.value})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s=%q: %v", c.name, c.value, err)
			}
		}
	})
	t.Run("a file that is no map says where", func(t *testing.T) {
		for text, says := range map[string]string{"sign-up: open\nlisten: [hunter2\n": "(line ", "- hunter2\n": "no YAML map", "hunter2": "no YAML map"} {
			write(text)
			_, err := settings.Load(file, env(nil), nil)
			if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: %v", text, err)
			}
		}
		if _, err := settings.Load(file+"x", env(nil), nil); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Error(err)
		}
	})
	t.Run("a listener on loopback alone is known as one", func(t *testing.T) {
		for listen, want := range map[string]bool{"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
			"0.0.0.0:1": false, ":1": false, "[::]:1": false, "10.0.0.1:1": false, "localhost.example.com:1": false} {
			s, err := settings.Load("", env(nil), map[string]string{"listen": listen})
			if err != nil || s.LoopbackOnly() != want {
				t.Errorf("%s: %v, %v", listen, s, err)
			}
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
