// Leases: who holds them, and for how long nobody renewed them.
package main

import (
	"context"
	"time"
)

const leaseInterval = 200 * time.Millisecond

var leaseNames = []string{"kube-controller-manager", "kube-scheduler"}

// leases watches by asking: a watch would end with each API server.
type leases struct {
	opts   options
	client *client
	start  time.Time
	seen   [2][]renewal
	turn   int
}

// renewal is one state of a lease; the time is the holder's own.
type renewal struct {
	Holder string    `json:"holder"`
	At     time.Time `json:"at"`
}

type leaseReport struct {
	Name     string `json:"name"`
	Renewals int    `json:"renewals"`
	// Holders are the first renewals of each holder in turn.
	Holders []holder `json:"holders"`
	// LongestGap is the longest time between two renewals; the one that was going on at the end counts.
	LongestGap milliseconds `json:"longest_gap_ms"`
	// LongestGapFrom is when it began.
	LongestGapFrom milliseconds `json:"longest_gap_from_ms"`
}

type holder struct {
	Identity string       `json:"identity"`
	From     milliseconds `json:"from_ms"`
	// Third is when the holder had renewed it three times.
	Third *milliseconds `json:"third_renewal_ms,omitempty"`
}

func (l *leases) run(ctx context.Context) {
	tick(ctx, leaseInterval, func() {
		for i, name := range leaseNames {
			l.ask(i, name)
		}
	})
}

func (l *leases) ask(index int, name string) {
	var lease struct {
		Spec struct {
			HolderIdentity string    `json:"holderIdentity"`
			RenewTime      time.Time `json:"renewTime"`
		} `json:"spec"`
	}
	for range l.opts.endpoints {
		endpoint := l.opts.endpoints[l.turn%len(l.opts.endpoints)]
		if l.client.get(endpoint+"/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/"+name, &lease) == nil {
			now := renewal{lease.Spec.HolderIdentity, lease.Spec.RenewTime}
			if seen := l.seen[index]; len(seen) == 0 || seen[len(seen)-1] != now {
				l.seen[index] = append(seen, now)
			}
			return
		}
		l.turn++
	}
}

func (l *leases) report(end time.Time) []leaseReport {
	var reports []leaseReport
	for i, name := range leaseNames {
		r := leaseReport{Name: name, Renewals: len(l.seen[i]), Holders: []holder{}}
		since := func(at time.Time) milliseconds { return milliseconds(at.Sub(l.start)) }
		last := l.start
		gap := func(at time.Time) {
			if length := milliseconds(at.Sub(last)); length > r.LongestGap {
				r.LongestGap, r.LongestGapFrom = length, since(last)
			}
		}
		first := 0
		for j, seen := range l.seen[i] {
			if j == 0 || seen.Holder != l.seen[i][j-1].Holder {
				first = j
				r.Holders = append(r.Holders, holder{Identity: seen.Holder, From: since(seen.At)})
			}
			if j-first == 3 {
				third := since(seen.At)
				r.Holders[len(r.Holders)-1].Third = &third
			}
			if seen.Holder == "" {
				continue // released; nobody renewed it
			}
			if j > 0 {
				gap(seen.At)
			}
			last = seen.At
		}
		gap(end)
		reports = append(reports, r)
	}
	return reports
}
