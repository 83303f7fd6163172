package app

import "github.com/prometheus/client_golang/prometheus"

// metrics adds what the server itself cannot count to /metrics.
func (a *App) metrics() error {
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "headgate", Name: name, Help: help}, value)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headgate", Name: name, Help: help}, value)
	}
	for _, c := range []prometheus.Collector{
		counter("calls_committed_total", "Calls whose settlement and log line are on disk.", func() float64 { return float64(a.Committer.Stats().Records) }),
		counter("commits_total", "Commits of calls; many calls share one.", func() float64 { return float64(a.Committer.Stats().Groups) }),
		gauge("calls_waiting_for_rows", "Calls that are safe in the journal and not yet rows.", func() float64 { return float64(a.Committer.Stats().Waiting) }),
		gauge("store_refuses_writes", "1 while the last commit of calls failed; no call is made then.", func() float64 {
			if a.Committer.Stats().Sick {
				return 1
			}
			return 0
		}),
		counter("bodies_dropped_total", "Bodies of calls that were not kept because the log store was behind.", func() float64 { return float64(a.Bodies.Dropped()) }),
		counter("error_lines_dropped_total", "Error lines that were not kept because the store was behind.", func() float64 { return float64(a.Errors.Dropped()) }),
		gauge("upstream_servers", "MCP servers that are connected to.", func() float64 { return float64(a.Hub.Stats().Servers) }),
		gauge("upstream_sessions", "Open sessions with MCP servers of old revisions.", func() float64 { return float64(a.Hub.Stats().Sessions) }),
		gauge("upstream_streams", "Open streams of notifications from MCP servers.", func() float64 { return float64(a.Hub.Stats().Streams) }),
		gauge("stdio_programs_running", "Processes of stdio servers that run.", func() float64 { return float64(a.Programs.Stats().Running) }),
		gauge("stdio_memory_bytes", "Memory of the processes of stdio servers together.", func() float64 { return float64(a.Programs.Stats().Memory) }),
		gauge("stdio_off", "1 while no stdio server is started because this host gives fewer walls than sandbox-level requires.", func() float64 {
			if a.Programs.Stats().Off {
				return 1
			}
			return 0
		}),
	} {
		if err := a.Registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}
