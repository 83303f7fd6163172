package platform

import (
	"context"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/launch"
	"headgate/internal/rest"
	"headgate/internal/sandbox"
	"headgate/internal/upstream/stdio"
)

type entryRow struct {
	Name         string      `json:"name"`
	Title        string      `json:"title"`
	Description  string      `json:"description"`
	Version      string      `json:"version,omitempty"`
	Package      string      `json:"package,omitempty" doc:"Of npm."`
	Integrity    string      `json:"integrity,omitempty" doc:"The hash that the package must have."`
	Program      string      `json:"program,omitempty" doc:"A program of the host, where there is no package."`
	Arguments    []string    `json:"arguments" doc:"The fixed template; {name} stands for a parameter."`
	Variables    []string    `json:"variables" doc:"Names of the environment variables."`
	Network      []string    `json:"network" doc:"Hosts it may reach; none: no network at all."`
	PerUser      bool        `json:"perUser" doc:"Each user configures it, and has a process of their own."`
	Shipped      bool        `json:"shipped"`
	Installed    bool        `json:"installed" doc:"On the replica that answers."`
	Enabled      bool        `json:"enabled"`
	Outdated     bool        `json:"outdated" doc:"Enabled as it was before; enable it again to bring it up to date."`
	ServiceID    string      `json:"serviceId,omitempty"`
	ConfigSchema rest.Object `json:"configSchema" nullable:"true"`
}

type entryRows struct {
	Entries []entryRow `json:"entries"`
}

type entryRowData struct {
	Entry    entryRow `json:"entry"`
	Warnings []string `json:"warnings" doc:"What the source says that was not taken over."`
}

// ByEntry is the input of what is about one catalog entry.
type ByEntry struct {
	Name string `path:"entryName" maxLength:"64"`
}

type addEntry struct{ Body addEntryBody }

type addEntryBody struct {
	NPM        string      `json:"npm,omitempty" maxLength:"256" doc:"A package with its exact version, such as @acme/notes@1.2.3."`
	Bin        string      `json:"bin,omitempty" maxLength:"128" doc:"Which of the package's programs; needed where it has several."`
	ServerJSON rest.Object `json:"serverJson,omitempty" doc:"A server.json of the MCP registry."`
	Entry      string      `json:"entry,omitempty" maxLength:"65536" doc:"An entry file, YAML or JSON."`
	Name       string      `json:"name,omitempty" maxLength:"32" doc:"Instead of the name that follows from the source."`
}

type enableEntry struct {
	ByEntry
	Body enableEntryBody
}

type enableEntryBody struct {
	Price *int64 `json:"price,omitempty" minimum:"0" maximum:"1000000000" doc:"Credits per call; only when it is enabled for the first time."`
}

type tryEntry struct {
	ByEntry
	Body tryEntryBody
}

type tryEntryBody struct {
	Config rest.Object `json:"config,omitempty" doc:"Values of the entry's parameters."`
}

type trialRow struct {
	OK           bool        `json:"ok"`
	Code         string      `json:"code,omitempty" doc:"Why it failed."`
	Message      string      `json:"message,omitempty"`
	Era          string      `json:"era,omitempty"`
	Revision     string      `json:"revision,omitempty"`
	ServerInfo   rest.Object `json:"serverInfo"`
	Capabilities rest.Object `json:"capabilities"`
	Instructions string      `json:"instructions"`
	Tools        []string    `json:"tools"`
	StartMs      int64       `json:"startMs" doc:"From the start to the end of the handshake."`
	SpawnMs      float64     `json:"spawnMs" doc:"The walls and the exec alone."`
	Level        string      `json:"level,omitempty"`
	Walls        []wallRow   `json:"walls"`
	Logs         []stdioLine `json:"logs"`
	Exit         string      `json:"exit,omitempty"`
}

type trialData struct {
	Trial trialRow `json:"trial"`
}

type wallRow struct {
	Name   string `json:"name"`
	Up     bool   `json:"up"`
	Detail string `json:"detail"`
}

type stdioLine struct {
	Time rest.Time `json:"time"`
	Text string    `json:"text" doc:"What a stranger's program wrote: show it with care."`
}

type stdioLines struct {
	Lines []stdioLine `json:"lines"`
}

type sandboxRow struct {
	Enabled  bool      `json:"enabled" doc:"Whether stdio servers are started on this replica."`
	Required string    `json:"required" doc:"The setting sandbox-level."`
	Level    string    `json:"level" doc:"What this host gives."`
	Message  string    `json:"message,omitempty" doc:"Why stdio servers are off."`
	Walls    []wallRow `json:"walls"`
	Programs int       `json:"programs"`
	Running  int       `json:"running"`
}

type sandboxData struct {
	Sandbox sandboxRow `json:"sandbox"`
}

// programRow is one program of a stdio server, in a server's row.
type programRow struct {
	UserID     string    `json:"userId,omitempty" doc:"Whose it is; absent when the organization shares it."`
	State      string    `json:"state" enum:"asleep,starting,running,resting,off" doc:"off: this host gives fewer walls than are required."`
	Since      rest.Time `json:"since" nullable:"true"`
	Era        string    `json:"era,omitempty"`
	Revision   string    `json:"revision,omitempty"`
	Level      string    `json:"level,omitempty" doc:"The walls around the running process."`
	Walls      []wallRow `json:"walls" doc:"As the kernel reports them for this process."`
	Calls      int       `json:"calls" doc:"Under way."`
	MemoryMiB  float64   `json:"memoryMiB" doc:"Of its processes together, without pages they share with files; looked at once a second."`
	CPUMs      int64     `json:"cpuMs" doc:"Processor time of the running process and its descendants."`
	Starts     int       `json:"starts"`
	StartP50Ms int64     `json:"startP50Ms"`
	StartP95Ms int64     `json:"startP95Ms"`
	SpawnMs    float64   `json:"spawnMs"`
	Ends       int       `json:"endsInARow" doc:"That nobody asked for."`
	NextTry    rest.Time `json:"nextTry" nullable:"true"`
	LastExit   string    `json:"lastExit,omitempty"`
	Code       string    `json:"code,omitempty" doc:"Why the last start failed."`
	Message    string    `json:"message,omitempty"`
}

// installTime is how long npm may take.
const installTime = 6 * time.Minute

// stdio registers what is about programs: the operator's catalog and the walls.
func (a *api) stdio() {
	slow := func(op rest.Op) rest.Op { op.Timeout = installTime; return op }
	rest.Handle(a.door, adminOp("GET", "/catalog", "adminListCatalog", "Programs of stdio servers"), a.adminListCatalog)
	rest.Handle(a.door, adminOp("GET", "/catalog/{entryName}", "adminGetEntry", "A catalog entry"), func(ctx context.Context, in *ByEntry) (*rest.OK[entryRowData, rest.Meta], error) {
		o, err := a.Launch.Get(ctx, rest.Principal(ctx), in.Name)
		return answerEntry(o, nil, err)
	})
	add := slow(adminOp("POST", "/catalog", "adminAddEntry", "Write a catalog entry from an npm package, a server.json or a file", fault.Conflict))
	add.Status, add.Idempotent = http.StatusCreated, true
	rest.Handle(a.door, add, a.adminAddEntry)
	rest.Handle(a.door, adminOp("DELETE", "/catalog/{entryName}", "adminRemoveEntry", "Forget a catalog entry", fault.Conflict), func(ctx context.Context, in *ByEntry) (*rest.None, error) {
		return nil, a.Launch.Remove(ctx, rest.Principal(ctx), in.Name)
	})
	rest.Handle(a.door, slow(adminOp("POST", "/catalog/{entryName}/enable", "adminEnableEntry", "Install an entry's package and offer it", fault.Conflict)), func(ctx context.Context, in *enableEntry) (*rest.OK[entryRowData, rest.Meta], error) {
		o, err := a.Launch.Enable(ctx, rest.Principal(ctx), in.Name, in.Body.Price)
		return answerEntry(o, nil, err)
	})
	rest.Handle(a.door, adminOp("POST", "/catalog/{entryName}/disable", "adminDisableEntry", "Take an entry off the offer, with every server made of it"), func(ctx context.Context, in *ByEntry) (*rest.None, error) {
		return nil, a.Launch.Disable(ctx, rest.Principal(ctx), in.Name)
	})
	rest.Handle(a.door, slow(adminOp("POST", "/catalog/{entryName}/try", "adminTryEntry", "Start an entry's program once and ask it what it is", fault.Conflict, fault.Unconfigured)), a.adminTryEntry)
	rest.Handle(a.door, adminOp("GET", "/sandbox", "adminGetSandbox", "The walls around stdio servers"), a.adminGetSandbox)
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/servers/{serverId}/logs", ID: "getServerLogs", Summary: "What a stdio server wrote to standard error last", Tags: []string{"servers"},
		Permission: access.Diagnose}, a.getServerLogs)
}

func answerEntry(o *launch.Offer, warnings []string, err error) (*rest.OK[entryRowData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	return ok(entryRowData{entryOfOffer(o), warnings}, "")
}

func entryOfOffer(o *launch.Offer) entryRow {
	e := o.Entry
	r := entryRow{Name: e.Name, Title: e.Title, Description: e.Description, Program: e.Program, Arguments: e.Args, Network: e.Network, PerUser: e.PerUser,
		Shipped: o.Shipped, Installed: o.Installed, Enabled: o.Service != nil, Outdated: o.Outdated, ConfigSchema: rest.Object(o.Schema)}
	if r.Title == "" {
		r.Title = e.Name
	}
	if p := e.Package; p != nil {
		r.Package, r.Version, r.Integrity = p.NPM, p.Version, p.Integrity
	}
	if o.Service != nil {
		r.ServiceID = o.Service.ID
	}
	r.Variables = e.Variables()
	return r
}

func (a *api) adminListCatalog(ctx context.Context, _ *rest.None) (*rest.OK[entryRows, rest.Meta], error) {
	offers, err := a.Launch.List(ctx, rest.Principal(ctx))
	if err != nil {
		return nil, err
	}
	var list entryRows
	for i := range offers {
		list.Entries = append(list.Entries, entryOfOffer(&offers[i]))
	}
	return ok(list, "")
}

func (a *api) adminAddEntry(ctx context.Context, in *addEntry) (*rest.OK[entryRowData, rest.Meta], error) {
	src := launch.Source{NPM: in.Body.NPM, Bin: in.Body.Bin, ServerJSON: in.Body.ServerJSON, Name: in.Body.Name}
	if in.Body.Entry != "" {
		src.Entry = []byte(in.Body.Entry)
	}
	o, warnings, err := a.Launch.Add(ctx, rest.Principal(ctx), src)
	return answerEntry(o, warnings, err)
}

func (a *api) adminTryEntry(ctx context.Context, in *tryEntry) (*rest.OK[trialData, rest.Meta], error) {
	config, err := launch.ReadConfig(in.Body.Config)
	if err != nil {
		return nil, err
	}
	var trial trialRow
	err = a.Launch.Try(ctx, rest.Principal(ctx), in.Name, config, func(ctx context.Context, spec sandbox.Spec, era catalog.Era) error {
		t, err := a.Programs.Try(ctx, spec, era)
		if t != nil {
			trial, err = trialOf(t, err), nil // that it failed is what came of it
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(trialData{trial}, "")
}

func trialOf(t *stdio.Trial, failed error) trialRow {
	r := trialRow{OK: failed == nil, Era: t.Facts.Era, Revision: t.Facts.Revision, ServerInfo: object(t.Facts.ServerInfo), Capabilities: object(t.Facts.Capabilities),
		Instructions: t.Facts.Instructions, Tools: t.Tools, StartMs: t.Took.Milliseconds(), SpawnMs: t.Spawn.Seconds() * 1000, Walls: wallsOf(t.Report), Logs: linesOf(t.Logs)}
	if f := fault.Of(failed); f != nil {
		r.Code, r.Message = f.Code, f.Message
	} else {
		r.Level = t.Report.Level.String()
	}
	if t.LastExit != nil {
		r.Exit = t.LastExit.String()
	}
	return r
}

func wallsOf(r sandbox.Report) []wallRow {
	var list []wallRow
	for _, w := range r.Walls {
		list = append(list, wallRow(w))
	}
	return list
}

func linesOf(lines []sandbox.LogLine) []stdioLine {
	var list []stdioLine
	for _, l := range lines {
		list = append(list, stdioLine{rest.At(l.Time), l.Text})
	}
	return list
}

func (a *api) adminGetSandbox(ctx context.Context, _ *rest.None) (*rest.OK[sandboxData, rest.Meta], error) {
	report, required, err := a.Programs.Attest(ctx)
	if err != nil {
		return nil, err
	}
	stats := a.Programs.Stats()
	r := sandboxRow{Enabled: true, Required: required.String(), Level: report.Level.String(), Walls: wallsOf(report), Programs: stats.Programs, Running: stats.Running}
	if f := fault.Of(a.Programs.Ready(ctx)); f != nil {
		r.Enabled, r.Message = false, f.Message
	}
	return ok(sandboxData{r}, "")
}

func (a *api) getServerLogs(ctx context.Context, in *ByServer) (*rest.OK[stdioLines, rest.Meta], error) {
	by := rest.Principal(ctx)
	d, err := a.Catalog.GetServer(ctx, by, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(stdioLines{linesOf(a.Programs.Logs(d.ID, by.User))}, "")
}

// programsOf shows the programs of a stdio server; none for any other.
func (a *api) programsOf(ctx context.Context, d *catalog.ServerDetail) []programRow {
	if d.Service.Transport != catalog.Stdio || a.Programs == nil {
		return nil
	}
	if f := fault.Of(a.Programs.Ready(ctx)); f != nil {
		return []programRow{{State: "off", Code: f.Code, Message: f.Message}}
	}
	var list []programRow
	for _, s := range a.Programs.Status(d.ID) {
		r := programRow{UserID: s.User, State: string(s.State), Since: rest.At(s.Since), Era: s.Era, Revision: s.Revision, Calls: s.Calls, Starts: s.Starts, MemoryMiB: float64(s.Memory) / (1 << 20), CPUMs: s.Spent.Milliseconds(),
			StartP50Ms: s.StartP50.Milliseconds(), StartP95Ms: s.StartP95.Milliseconds(), SpawnMs: s.Spawn.Seconds() * 1000, Ends: s.Streak, NextTry: rest.At(s.NextTry)}
		if s.Report != nil {
			r.Level, r.Walls = s.Report.Level.String(), wallsOf(*s.Report)
		}
		if s.LastExit != nil {
			r.LastExit = s.LastExit.String()
		}
		if s.Failure != nil {
			r.Code, r.Message = s.Failure.Code, s.Failure.Message
		}
		list = append(list, r)
	}
	return list
}
