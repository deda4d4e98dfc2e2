// Writes that are read back, with a client that tries one endpoint after the other.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// writer changes one ConfigMap again and again.
type writer struct {
	opts    options
	client  *client
	series  series
	turn    int
	retries int
	lost    int
}

type writeReport struct {
	seriesReport
	// Retries counts the endpoints that failed before another one, or none, took the write.
	Retries int `json:"retries"`
	// Lost counts the writes that were accepted and that a read did not find.
	Lost int `json:"lost"`
}

type configMap struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   map[string]any    `json:"metadata"`
	Data       map[string]string `json:"data"`
}

var errLost = errors.New("a write that was accepted could not be read back")

func (w *writer) run(ctx context.Context) {
	count := 0
	tick(ctx, w.opts.everyWrite, func() {
		count++
		began := time.Now()
		w.series.add(began, w.write(strconv.Itoa(count)))
	})
}

// write begins with another endpoint each time and goes on to the next one on failure.
func (w *writer) write(value string) error {
	w.turn++
	var failure error
	for i := range w.opts.endpoints {
		endpoint := w.opts.endpoints[(w.turn+i)%len(w.opts.endpoints)]
		failure = w.writeTo(endpoint, value)
		if failure == nil || errors.Is(failure, errLost) {
			return failure
		}
		w.retries++
	}
	return failure
}

func (w *writer) writeTo(endpoint, value string) error {
	collection := fmt.Sprintf("%s/api/v1/namespaces/%s/configmaps", endpoint, w.opts.namespace)
	wanted := configMap{"v1", "ConfigMap", map[string]any{"name": w.opts.name}, map[string]string{"value": value}}
	err := w.client.do(http.MethodPut, collection+"/"+w.opts.name, wanted, nil)
	if errors.Is(err, statusError(http.StatusNotFound)) {
		err = w.client.do(http.MethodPost, collection, wanted, nil)
	}
	if err != nil {
		return err
	}
	var found configMap
	if err := w.client.get(collection+"/"+w.opts.name, &found); err != nil {
		return err
	}
	if found.Data["value"] != value {
		w.lost++
		return errLost
	}
	return nil
}

func (w *writer) report(end time.Time) writeReport {
	return writeReport{w.series.report(end), w.retries, w.lost}
}
