// Requests with a client certificate, each on a connection of its own.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// client uses the kubeconfig as it is when a request is made, as a program does that is started anew for each.
type client struct {
	kubeconfig string
	timeout    time.Duration

	lock   sync.Mutex
	info   os.FileInfo
	config *tls.Config
}

// statusError is an answer other than success.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("HTTP %d", int(e)) }

// ports matches what differs between two failures of the same kind.
var ports = regexp.MustCompile(`:[0-9]{4,5}\b|current time \S+ `)

func serverOf(kubeconfig string) (string, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return "", err
	}
	return config.Host, nil
}

func (c *client) get(url string, into any) error { return c.do(http.MethodGet, url, nil, into) }

func (c *client) do(method, url string, body, into any) error {
	config, err := c.tls()
	if err != nil {
		return err
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, TLSHandshakeTimeout: c.timeout}
	response, err := (&http.Client{Transport: transport, Timeout: c.timeout}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode >= 300:
		return statusError(response.StatusCode)
	case into == nil:
		return nil
	}
	return json.Unmarshal(answer, into)
}

// tls reads the kubeconfig again when it is another file, or the same with another content.
func (c *client) tls() (*tls.Config, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	info, err := os.Stat(c.kubeconfig)
	if err != nil {
		return nil, err
	}
	if c.info != nil && os.SameFile(info, c.info) && info.ModTime().Equal(c.info.ModTime()) && info.Size() == c.info.Size() {
		return c.config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	c.info, c.config = info, tlsConfig
	return tlsConfig, nil
}

// kind is a failure without what makes each one different.
func kind(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return ports.ReplaceAllString(err.Error(), "")
}
