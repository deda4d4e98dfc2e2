// Verification of a kubeadm tree: every credential against the CA, for the purpose and the names that it serves.
package main

import (
	"crypto/x509"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"rescue-kit/tests/lab/rooted"
)

const (
	pki     = "etc/kubernetes/pki/"
	kubelet = "var/lib/kubelet/pki/"
)

// uses are the purposes of a certificate, all of which must hold; etcd's members call each other, and themselves.
type uses []x509.ExtKeyUsage

var (
	server = uses{x509.ExtKeyUsageServerAuth}
	client = uses{x509.ExtKeyUsageClientAuth}
	both   = uses{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
)

// verdict is one credential's; a nil error is a good one.
type verdict struct {
	id  string
	err error
}

// tree is a node's directory and the time to judge it at.
type tree struct {
	root string
	at   time.Time
}

// etcdFlag matches the three files by which an apiserver speaks to etcd.
var etcdFlag = regexp.MustCompile(`--etcd-(cafile|certfile|keyfile)=/?(\S+)`)

func verifyTree(root string, at time.Time) []verdict {
	t := tree{root, at}
	var verdicts []verdict
	add := func(id string, err error) { verdicts = append(verdicts, verdict{id, err}) }
	leaf := func(id, base, ca string, usages uses, names ...string) {
		add(id, t.leaf(base+".crt", base+".key", ca, usages, names...))
	}

	etcd := map[string]string{
		"cafile": pki + "etcd/ca.crt", "certfile": pki + "apiserver-etcd-client.crt", "keyfile": pki + "apiserver-etcd-client.key",
	}
	manifest, _ := t.read("etc/kubernetes/manifests/kube-apiserver.yaml") // without it kubeadm's names hold
	for _, match := range etcdFlag.FindAllSubmatch(manifest, -1) {
		etcd[string(match[1])] = string(match[2])
	}
	localEtcd := t.has("etc/kubernetes/manifests/etcd.yaml")

	add("ca", t.ca(pki+"ca.crt", pki+"ca.key"))
	leaf("apiserver", pki+"apiserver", pki+"ca.crt", server, "kubernetes.default.svc")
	leaf("apiserver-kubelet-client", pki+"apiserver-kubelet-client", pki+"ca.crt", client)
	add("front-proxy-ca", t.ca(pki+"front-proxy-ca.crt", pki+"front-proxy-ca.key"))
	leaf("front-proxy-client", pki+"front-proxy-client", pki+"front-proxy-ca.crt", client)
	add("etcd-ca", t.ca(etcd["cafile"], pki+"etcd/ca.key"))
	if localEtcd {
		leaf("etcd-server", pki+"etcd/server", etcd["cafile"], both, "localhost")
		leaf("etcd-peer", pki+"etcd/peer", etcd["cafile"], both, "localhost")
		leaf("etcd-healthcheck-client", pki+"etcd/healthcheck-client", etcd["cafile"], client)
	}
	add("apiserver-etcd-client", t.leaf(etcd["certfile"], etcd["keyfile"], etcd["cafile"], client))
	for _, name := range []string{"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"} {
		file := "etc/kubernetes/" + name
		if name == "super-admin.conf" && !t.has(file) {
			continue // kubeadm before 1.29, or another node than the first
		}
		add(name, t.kubeconfig(file))
	}
	if current := kubelet + "kubelet-client-current.pem"; t.has(current) {
		add("kubelet-client", t.leaf(current, current, pki+"ca.crt", client))
	}
	if serving := kubelet + "kubelet.crt"; t.has(serving) {
		// The kubelet signs it with a CA that it forgets, and stores that CA's certificate behind it.
		add("kubelet-serving", t.leaf(serving, kubelet+"kubelet.key", serving, server))
	}
	return verdicts
}

func (t tree) read(name string) ([]byte, error) {
	file, err := rooted.Resolve(t.root, name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// has says whether there is such a file, be it a symbolic link that dangles.
func (t tree) has(name string) bool {
	dir, err := rooted.Resolve(t.root, path.Dir(name))
	if err != nil {
		return false
	}
	_, err = os.Lstat(filepath.Join(dir, path.Base(name)))
	return err == nil
}

func (t tree) ca(cert, key string) error {
	certPEM, err := t.read(cert)
	if err != nil {
		return err
	}
	var keyPEM []byte
	if t.has(key) {
		if keyPEM, err = t.read(key); err != nil {
			return err
		}
	}
	return verifyCA(certPEM, keyPEM, t.at)
}

func (t tree) leaf(cert, key, ca string, usages uses, names ...string) error {
	certPEM, err := t.read(cert)
	if err != nil {
		return err
	}
	keyPEM, err := t.read(key)
	if err != nil {
		return err
	}
	roots, err := t.read(ca)
	if err != nil {
		return err
	}
	for _, usage := range usages {
		if err := (trust{roots: roots, usage: usage, names: names, at: t.at}).verify(certPEM); err != nil {
			return err
		}
	}
	return verifyPair(certPEM, keyPEM)
}

func (t tree) kubeconfig(name string) error {
	file, err := rooted.Resolve(t.root, name)
	if err != nil {
		return err
	}
	roots, err := t.read(pki + "ca.crt")
	if err != nil {
		return err
	}
	return verifyKubeconfig(file, t.root, trust{roots: roots, usage: x509.ExtKeyUsageClientAuth, at: t.at})
}
