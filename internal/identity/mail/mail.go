package mail

import (
	"fmt"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"headgate/internal/identity"
)

// build makes the message's form on the wire: text, and HTML beside it.
func build(from string, m identity.Message, now time.Time) (*gomail.Msg, error) {
	msg := gomail.NewMsg()
	if err := msg.From(from); err != nil {
		return nil, fmt.Errorf("the sender's address cannot be used: %w", err)
	}
	if err := msg.To(m.To); err != nil {
		return nil, fmt.Errorf("a recipient's address cannot be used: %w", err)
	}
	msg.Subject(strings.Join(strings.Fields(m.Subject), " ")) // no line break gets into a header
	msg.SetDateWithValue(now)
	msg.SetMessageID()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // no "out of office" back, please
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		msg.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return msg, nil
}
