// Meter measures what clients of a control plane see: reads on new connections, writes that are read back, and leases.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	kubeconfig                string
	endpoints                 []string
	every, everyWrite         time.Duration
	duration, timeout         time.Duration
	namespace, name, readPath string
	leases                    bool
}

// report is what is printed at the end; all times are milliseconds since the start.
type report struct {
	Started   time.Time        `json:"started"`
	Duration  milliseconds     `json:"duration_ms"`
	Endpoints []endpointReport `json:"endpoints"`
	Writes    *writeReport     `json:"writes,omitempty"`
	Leases    []leaseReport    `json:"leases,omitempty"`
}

type endpointReport struct {
	URL string `json:"url"`
	seriesReport
}

func main() {
	opts, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "meter:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if opts.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opts.duration)
		defer cancel()
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(measure(ctx, opts)); err != nil {
		fmt.Fprintln(os.Stderr, "meter:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("meter", flag.ExitOnError)
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "`file` with the client certificate; read again whenever it changes")
	flags.Func("endpoint", "`URL` of an API server; may be repeated (default the kubeconfig's server)", func(url string) error {
		opts.endpoints = append(opts.endpoints, url)
		return nil
	})
	flags.DurationVar(&opts.every, "every", 50*time.Millisecond, "time between two reads of each endpoint")
	flags.DurationVar(&opts.everyWrite, "every-write", 500*time.Millisecond, "time between two writes; 0 for none")
	flags.DurationVar(&opts.duration, "for", 0, "how long to measure (default until SIGTERM)")
	flags.DurationVar(&opts.timeout, "timeout", time.Second, "how long a request may take")
	flags.StringVar(&opts.readPath, "read", "/api/v1/namespaces/kube-system", "`path` that is read")
	flags.StringVar(&opts.namespace, "namespace", "default", "namespace of the ConfigMap that is written")
	flags.StringVar(&opts.name, "name", "meter", "its name")
	flags.BoolVar(&opts.leases, "watch-leases", false, "report who holds the leases of the controller manager and the scheduler")
	_ = flags.Parse(args) // ExitOnError
	if opts.kubeconfig == "" || flags.NArg() > 0 {
		return opts, errors.New("usage: meter -kubeconfig FILE [flags]")
	}
	if len(opts.endpoints) == 0 {
		server, err := serverOf(opts.kubeconfig)
		if err != nil {
			return opts, err
		}
		opts.endpoints = []string{server}
	}
	return opts, nil
}

func measure(ctx context.Context, opts options) report {
	start := time.Now()
	c := &client{kubeconfig: opts.kubeconfig, timeout: opts.timeout}
	var wait sync.WaitGroup
	reads := make([]*series, len(opts.endpoints))
	for i, endpoint := range opts.endpoints {
		reads[i] = &series{start: start}
		wait.Go(func() { read(ctx, opts, c, endpoint, reads[i]) })
	}
	w := writer{opts: opts, client: c, series: series{start: start}}
	if opts.everyWrite > 0 {
		wait.Go(func() { w.run(ctx) })
	}
	l := leases{opts: opts, client: c, start: start}
	if opts.leases {
		wait.Go(func() { l.run(ctx) })
	}
	wait.Wait()
	end := time.Now()

	r := report{Started: start, Duration: milliseconds(end.Sub(start))}
	for i, endpoint := range opts.endpoints {
		r.Endpoints = append(r.Endpoints, endpointReport{endpoint, reads[i].report(end)})
	}
	if opts.everyWrite > 0 {
		written := w.report(end)
		r.Writes = &written
	}
	if opts.leases {
		r.Leases = l.report(end)
	}
	return r
}

// read starts a request at each tick, also while earlier ones still wait for their answers.
func read(ctx context.Context, opts options, c *client, endpoint string, s *series) {
	var wait sync.WaitGroup
	defer wait.Wait()
	tick(ctx, opts.every, func() {
		wait.Go(func() {
			began := time.Now()
			s.add(began, c.get(endpoint+opts.readPath, nil))
		})
	})
}

// tick calls what at once and then at every interval until the context ends.
func tick(ctx context.Context, interval time.Duration, what func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		what()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
