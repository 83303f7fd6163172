package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"headgate/client"
	"headgate/internal/sandbox"
)

// sandboxCmd are the commands on the walls around stdio servers.
type sandboxCmd struct {
	Check sandboxCheckCmd `cmd:"" help:"Try the walls around stdio servers, from inside."`
}

type sandboxCheckCmd struct {
	Local bool `help:"Try them here and now, without a server."`
}

func (sandboxCheckCmd) Help() string {
	return `Starts a child behind every wall, which tries each of them, and shows what came of it. The exit code is 9 when
stdio servers are off on that host.

    headgate sandbox check
    headgate sandbox check --local`
}

// Run shows the walls.
func (c *sandboxCheckCmd) Run(ctx context.Context, x *env) error {
	if c.Local {
		return checkHere(ctx, x)
	}
	api, err := x.operator()
	if err != nil {
		return err
	}
	data, _, err := api.AdminGetSandbox(ctx)
	if err != nil {
		return err
	}
	s := &data.Sandbox
	if err := x.print(data, func() {
		x.wallTable(s.Walls)
		x.say("This host gives the level %s; %s is required. %s, %d running.", s.Level, s.Required, count(s.Programs, "program"), s.Running)
	}); err != nil {
		return err
	}
	if !s.Enabled {
		return wrong(exitUnavailable, "SANDBOX_LEVEL", "%s", s.Message)
	}
	return nil
}

// checkHere tries the walls with this program.
func checkHere(ctx context.Context, x *env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := sandbox.Harden(); err != nil { // as serve does: one of the walls
		return err
	}
	l, err := sandbox.NewLauncher(sandbox.Config{Executable: self, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		return err
	}
	report, err := l.Attest(ctx)
	if err != nil {
		return err
	}
	var walls []client.WallRow
	for _, w := range report.Walls {
		walls = append(walls, client.WallRow{Name: w.Name, Up: w.Up, Detail: w.Detail})
	}
	if err := x.print(report, func() {
		x.wallTable(walls)
		x.say("This host gives the level %s.", report.Level)
	}); err != nil {
		return err
	}
	return report.Check(sandbox.Basic)
}

func (x *env) wallTable(walls []client.WallRow) {
	rows := make([][]string, len(walls))
	for i, w := range walls {
		state := "up"
		if !w.Up {
			state = "DOWN"
		}
		rows[i] = []string{w.Name, state, short(w.Detail, 100)}
	}
	x.table([]string{"WALL", "STATE", "WHAT WAS TRIED"}, rows)
}

// wallsIn is a level with the walls that are missing.
func wallsIn(level string, walls []client.WallRow) string {
	if level == "" {
		return ""
	}
	up, down := 0, []string{}
	for _, w := range walls {
		if w.Up {
			up++
		} else {
			down = append(down, w.Name)
		}
	}
	text := fmt.Sprintf("%s (%d of %d up)", level, up, len(walls))
	if len(down) > 0 {
		text += "; down: " + strings.Join(down, ", ")
	}
	return text
}

// programs are what server show says of a stdio server's processes.
func programs(list []client.ProgramRow) (pairs [][2]string) {
	for _, p := range list {
		name := "Program"
		if p.UserID != "" {
			name += " of " + p.UserID
		}
		state := p.State
		if p.Since != nil {
			state += " since " + moment(*p.Since)
		}
		if p.NextTry != nil {
			state += ", next try " + moment(*p.NextTry)
		}
		pairs = append(pairs, [2]string{name, state}, [2]string{"  speaks", p.Revision}, [2]string{"  walls", wallsIn(p.Level, p.Walls)})
		if p.MemoryMiB > 0 {
			pairs = append(pairs, [2]string{"  takes", fmt.Sprintf("%.1f MiB, %s of processor time", p.MemoryMiB, time.Duration(p.CpuMs)*time.Millisecond)})
		}
		if p.Starts > 0 {
			pairs = append(pairs, [2]string{"  starts", fmt.Sprintf("%d; half within %d ms, 95 %% within %d ms; walls and exec %.1f ms", p.Starts, p.StartP50Ms, p.StartP95Ms, p.SpawnMs)})
		}
		pairs = append(pairs, [2]string{"  last end", p.LastExit}, [2]string{"  why", p.Message})
	}
	return pairs
}

type serverLogsCmd struct {
	workspaceFlag
	Name string `arg:"" help:"The server."`
}

func (serverLogsCmd) Help() string {
	return `Shows what a stdio server's program wrote to standard error last. The log of calls is: headgate logs

    headgate server logs memory`
}

// Run shows a server's standard error.
func (c *serverLogsCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	if s.Transport != "stdio" {
		return invalid("%s is no stdio server, so there is no program whose standard error could be shown. The log of calls is: headgate logs", s.Slug)
	}
	data, _, err := api.GetServerLogs(ctx, s.ID)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		for _, l := range data.Lines {
			x.say("%s  %s", moment(l.Time), l.Text)
		}
		if len(data.Lines) == 0 {
			x.hint("It wrote nothing, or was not started lately.")
		}
	})
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}
