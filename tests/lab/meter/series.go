// Series of attempts and the gaps in them.
package main

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

// milliseconds is a duration that JSON shows as a number.
type milliseconds time.Duration

func (m milliseconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(m).Milliseconds())
}

// series collects attempts, which may end in another order than they began.
type series struct {
	start time.Time

	lock     sync.Mutex
	attempts []attempt
}

type attempt struct {
	began, ended time.Time
	err          error
}

// gap is the time between two successes that have a failure between them. A gap at an end of the series has one success or
// none: `recovered` tells whether it was over in the end.
type gap struct {
	From      milliseconds `json:"from_ms"`
	To        milliseconds `json:"to_ms"`
	Failures  int          `json:"failures"`
	Recovered bool         `json:"recovered"`
	First     string       `json:"first_error"`
}

type seriesReport struct {
	Requests     int            `json:"requests"`
	Failures     int            `json:"failures"`
	FirstSuccess *milliseconds  `json:"first_success_ms"`
	LongestGap   milliseconds   `json:"longest_gap_ms"`
	TotalGap     milliseconds   `json:"total_gap_ms"`
	Gaps         []gap          `json:"gaps"`
	Errors       map[string]int `json:"errors"`
}

func (s *series) add(began time.Time, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.attempts = append(s.attempts, attempt{began, time.Now(), err})
}

func (s *series) report(end time.Time) seriesReport {
	s.lock.Lock()
	defer s.lock.Unlock()
	slices.SortFunc(s.attempts, func(a, b attempt) int { return a.began.Compare(b.began) })
	r := seriesReport{Requests: len(s.attempts), Gaps: []gap{}, Errors: map[string]int{}}
	last := s.start // the end of the last success
	var open *gap
	closeAt := func(at time.Time, recovered bool) {
		open.To, open.Recovered = milliseconds(at.Sub(s.start)), recovered
		r.Gaps = append(r.Gaps, *open)
		r.TotalGap += open.To - open.From
		r.LongestGap = max(r.LongestGap, open.To-open.From)
		open = nil
	}
	for _, a := range s.attempts {
		if a.err != nil {
			r.Failures++
			r.Errors[kind(a.err)]++
			if open == nil {
				open = &gap{From: milliseconds(last.Sub(s.start)), First: kind(a.err)}
			}
			open.Failures++
			continue
		}
		if r.FirstSuccess == nil {
			first := milliseconds(a.ended.Sub(s.start))
			r.FirstSuccess = &first
		}
		if open != nil {
			closeAt(a.ended, true)
		}
		if a.ended.After(last) {
			last = a.ended
		}
	}
	if open != nil {
		closeAt(end, false)
	}
	return r
}
