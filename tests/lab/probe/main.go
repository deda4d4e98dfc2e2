// Probe says when each part of a node's control plane is in order, and returns when all of them have been.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	interval = 100 * time.Millisecond
	leases   = "/apis/coordination.k8s.io/v1/namespaces/"
)

// check is one condition; it returns nil when it holds.
type check struct {
	name string
	ask  func() error
}

// lease is what matters of a coordination.k8s.io/v1 Lease.
type lease struct {
	Spec struct {
		HolderIdentity string    `json:"holderIdentity"`
		RenewTime      time.Time `json:"renewTime"`
	} `json:"spec"`
}

// node is what matters of a v1 Node.
type node struct {
	Status struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func main() {
	checks, timeout, err := parse(os.Args[1:])
	if err == nil {
		err = wait(checks, timeout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func parse(args []string) ([]check, time.Duration, error) {
	flags := flag.NewFlagSet("probe", flag.ExitOnError)
	timeout := flags.Duration("timeout", time.Minute, "how long to wait until every check has held")
	kubeconfig := flags.String("kubeconfig", "", "`file` with a client certificate for the API server")
	server := flags.String("server", "", "`URL` of the API server, instead of the kubeconfig's")
	node := flags.String("node", "", "`name` of a node whose kubelet must report that it is ready")
	etcd := flags.String("etcd", "", "`URL` of an etcd member")
	etcdCA := flags.String("etcd-ca", "", "`file` with the CA that signed etcd's certificate")
	etcdCert := flags.String("etcd-cert", "", "`file` with a client certificate for etcd")
	etcdKey := flags.String("etcd-key", "", "`file` with its key")
	var checks []check
	flags.Func("healthz", "`URL` that answers 200 without a certificate; may be repeated", func(url string) error {
		client := newClient(&tls.Config{InsecureSkipVerify: true})
		checks = append(checks, check{url, func() error { return get(client, url, nil) }})
		return nil
	})
	_ = flags.Parse(args) // ExitOnError
	if flags.NArg() > 0 {
		return nil, 0, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *kubeconfig != "" {
		more, err := apiChecks(*kubeconfig, *server, *node)
		if err != nil {
			return nil, 0, err
		}
		checks = append(checks, more...)
	}
	if *etcd != "" {
		config, err := etcdTLS(*etcdCA, *etcdCert, *etcdKey)
		if err != nil {
			return nil, 0, err
		}
		checks = append(checks, etcdCheck(*etcd, config))
	}
	return checks, *timeout, nil
}

// wait repeats the checks that have not held yet.
func wait(checks []check, timeout time.Duration) error {
	start := time.Now()
	for {
		var failing []check
		var last []string
		for _, c := range checks {
			if err := c.ask(); err != nil {
				failing = append(failing, c)
				last = append(last, fmt.Sprintf("%s: %v", c.name, err))
				continue
			}
			fmt.Printf("%s: %.1f s\n", c.name, time.Since(start).Seconds())
		}
		if len(failing) == 0 {
			return nil
		}
		if time.Since(start) > timeout {
			return fmt.Errorf("not in order after %v: %s", timeout, strings.Join(last, "; "))
		}
		checks = failing
		time.Sleep(interval)
	}
}

// apiChecks asks with the client certificate, because anonymous requests succeed while every client is locked out. A lease
// counts only once it was renewed after the start: a dead holder's lease looks the same as a live one's.
func apiChecks(kubeconfig, server, node string) ([]check, error) {
	config, err := clientcmd.BuildConfigFromFlags(server, kubeconfig)
	if err != nil {
		return nil, err
	}
	if server != "" {
		config.Host = server
	}
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	client, start := newClient(tlsConfig), time.Now()
	checks := []check{{"API server", func() error { return get(client, config.Host+"/readyz", nil) }}}
	renewed := func(lease string) check {
		return check{"lease " + lease, func() error { return held(client, config.Host+leases+lease, start) }}
	}
	checks = append(checks, renewed("kube-system/leases/kube-controller-manager"), renewed("kube-system/leases/kube-scheduler"))
	if node != "" {
		// A node that is cut off is called ready for another 40 s.
		checks = append(checks, renewed("kube-node-lease/leases/"+node), check{"node " + node, func() error {
			return ready(client, config.Host+"/api/v1/nodes/"+node)
		}})
	}
	return checks, nil
}

func held(client *http.Client, url string, start time.Time) error {
	var l lease
	if err := get(client, url, &l); err != nil {
		return err
	}
	if l.Spec.HolderIdentity == "" || l.Spec.RenewTime.Before(start) {
		return errors.New("nobody holds it")
	}
	return nil
}

func ready(client *http.Client, url string) error {
	var n node
	if err := get(client, url, &n); err != nil {
		return err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			return nil
		}
	}
	return errors.New("not ready")
}

func etcdTLS(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// etcdCheck asks for /health, which a member answers with "true" only after a read that needed a quorum.
func etcdCheck(url string, config *tls.Config) check {
	client := newClient(config)
	return check{"etcd " + url, func() error {
		var answer struct {
			Health string `json:"health"`
		}
		if err := get(client, url+"/health", &answer); err != nil {
			return err
		}
		if answer.Health != "true" {
			return errors.New("not healthy")
		}
		return nil
	}}
}

// newClient connects anew for each request, as a client that was just started does.
func newClient(config *tls.Config) *http.Client {
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	return &http.Client{Transport: transport, Timeout: 2 * time.Second}
}

func get(client *http.Client, url string, into any) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s", response.Status)
	case into == nil:
		return nil
	}
	return json.Unmarshal(body, into)
}
