package server

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	connections prometheus.Gauge
	shed        prometheus.Counter
}

func newMetrics(reg *prometheus.Registry) (metrics, error) {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headgate_http_requests_total", Help: "Requests answered, by mount and class of status.",
		}, []string{"mount", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "headgate_http_request_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"mount"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "headgate_http_connections", Help: "Open connections of the public listener.",
		}),
		shed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headgate_http_connections_shed_total", Help: "Connections answered 503 because there were too many.",
		}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.connections, m.shed} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// routeMetrics are a mount's series, looked up once.
type routeMetrics struct {
	classes [6]prometheus.Counter
	seconds prometheus.Observer
}

func (m metrics) of(mount string) routeMetrics {
	rm := routeMetrics{seconds: m.seconds.WithLabelValues(mount)}
	for i, class := range [...]string{"cut", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		rm.classes[i] = m.requests.WithLabelValues(mount, class)
	}
	return rm
}

// count adds one request. Status 0 is an answer that never began.
func (rm *routeMetrics) count(status int, took time.Duration) {
	rm.classes[min(status/100, 5)].Inc()
	rm.seconds.Observe(took.Seconds())
}
