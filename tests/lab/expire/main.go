// Expire re-signs the certificates of a control plane's tree with their own CAs and other dates: an honest expiry.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"rescue-kit/tests/lab/rooted"
)

const (
	configDir  = "etc/kubernetes"
	kubeletPKI = "var/lib/kubelet/pki"
)

// layout says where certificates lie and how files are called.
type layout struct {
	pkiDir      string
	certificate string // the end of a certificate's name; that of its key is keyOf's
	kubeconfig  string
}

var layouts = map[string]layout{
	"kubeadm": {"etc/kubernetes/pki", ".crt", ".conf"},
	"systemd": {"etc/kubernetes/ssl", ".pem", ".kubeconfig"},
}

// kubeconfigData matches the Base64 value of each certificate that a kubeconfig embeds.
var kubeconfigData = regexp.MustCompile(`((?:client-certificate|certificate-authority)-data:[ \t]*["']?)([A-Za-z0-9+/=]+)`)

// options is the command line.
type options struct {
	layout
	root, organization  string
	notBefore, notAfter time.Time
	only, skip, signers []string
	cas                 bool
}

// credential is one file that holds certificates.
type credential struct {
	id         string // kubeadm's name
	path       string // relative to the root
	kubeconfig bool
}

// change is what will be written once every certificate has been signed.
type change struct {
	credential
	file string // on this machine
	text []byte
}

func main() {
	opts, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "expire:", err)
		os.Exit(2)
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "expire:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	opts := options{notBefore: time.Now().AddDate(0, 0, -400), notAfter: time.Now().AddDate(0, 0, -35)}
	flags := flag.NewFlagSet("expire", flag.ExitOnError)
	flags.StringVar(&opts.root, "root", "", "the `directory` that stands for the node's /")
	flags.StringVar(&opts.organization, "organization", "", "give the leaves the subject O=`NAME`,CN=<theirs> (the shape of 1.28 and before)")
	flags.BoolVar(&opts.cas, "cas", false, "re-sign CA certificates too, and replace the copies of them in kubeconfigs")
	name := flags.String("layout", "kubeadm", "where the files lie: kubeadm, or systemd for cfssl's files below etc/kubernetes/ssl")
	dates := func(into *time.Time) func(string) error {
		return func(text string) (err error) {
			*into, err = time.Parse(time.RFC3339, text)
			return err
		}
	}
	flags.Func("not-before", "notBefore, RFC 3339 (default 400 days ago)", dates(&opts.notBefore))
	flags.Func("not-after", "notAfter, RFC 3339 (default 35 days ago)", dates(&opts.notAfter))
	list := func(into *[]string) func(string) error {
		return func(text string) error {
			*into = append(*into, strings.Split(text, ",")...)
			return nil
		}
	}
	flags.Func("only", "only these ids or `globs` of paths below the root, separated by commas", list(&opts.only))
	flags.Func("skip", "all but these ids or `globs`", list(&opts.skip))
	flags.Func("signer", "one more CA: a `.crt` with its .key beside it, outside the tree", list(&opts.signers))
	_ = flags.Parse(args) // ExitOnError
	if opts.root == "" || flags.NArg() > 0 {
		return opts, fmt.Errorf("usage: expire -root DIR [flags]")
	}
	var known bool
	if opts.layout, known = layouts[*name]; !known {
		return opts, fmt.Errorf("unknown layout %q", *name)
	}
	return opts, nil
}

func run(opts options) error {
	credentials, err := opts.find(opts.root)
	if err != nil {
		return err
	}
	r := resigner{opts: opts, done: map[string][]byte{}}
	for _, file := range opts.signers {
		if err := r.addSigner(file); err != nil {
			return err
		}
	}
	for _, c := range credentials {
		if strings.HasPrefix(c.path, opts.pkiDir) {
			file, err := rooted.Resolve(opts.root, c.path)
			if err != nil {
				return err
			}
			// A leaf, and a CA whose key is kept elsewhere, are no signers.
			_ = r.addSigner(file)
		}
	}
	var changes []change
	for _, c := range credentials {
		file, text, err := r.rewrite(c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.id, err)
		}
		if text != nil {
			changes = append(changes, change{c, file, text})
		}
	}
	for _, c := range changes {
		// In place, which keeps mode and owner.
		if err := os.WriteFile(c.file, c.text, 0o600); err != nil {
			return err
		}
		fmt.Println(c.id, c.path)
	}
	return nil
}

// find lists what holds certificates, CAs first, so that their copies elsewhere can follow.
func (l layout) find(root string) ([]credential, error) {
	credentials, err := l.walk(root, l.pkiDir)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(credentials, func(a, b credential) int { return rank(a) - rank(b) })
	dir, err := rooted.Resolve(root, configDir)
	if err != nil {
		return nil, err
	}
	configs, err := filepath.Glob(filepath.Join(dir, "*"+l.kubeconfig))
	if err != nil {
		return nil, err
	}
	for _, file := range configs {
		name := filepath.Base(file)
		credentials = append(credentials, credential{name, path.Join(configDir, name), true})
	}
	for _, c := range []credential{
		{"kubelet-client", path.Join(kubeletPKI, "kubelet-client-current.pem"), false},
		{"kubelet-serving", path.Join(kubeletPKI, "kubelet.crt"), false},
	} {
		if _, err := rooted.Resolve(root, c.path); err == nil {
			credentials = append(credentials, c)
		}
	}
	return credentials, nil
}

// rank puts files of CAs before files of leaves.
func rank(c credential) int {
	if strings.HasSuffix(c.id, "ca") {
		return 0
	}
	return 1
}

// walk lists every certificate below dir; the id of etcd/server.crt is etcd-server.
func (l layout) walk(root, dir string) ([]credential, error) {
	real, err := rooted.Resolve(root, dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return nil, err
	}
	var credentials []credential
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		file, err := rooted.Resolve(root, name)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		switch id, isCertificate := strings.CutSuffix(strings.TrimPrefix(name, l.pkiDir+"/"), l.certificate); {
		case info.IsDir():
			below, err := l.walk(root, name)
			if err != nil {
				return nil, err
			}
			credentials = append(credentials, below...)
		case isCertificate && !strings.HasSuffix(id, "-key"):
			credentials = append(credentials, credential{strings.ReplaceAll(id, "/", "-"), name, false})
		}
	}
	return credentials, nil
}

// resigner re-signs blocks and remembers what became of each certificate, so that copies stay copies.
type resigner struct {
	opts    options
	signers []signer
	done    map[string][]byte
}

func (r *resigner) addSigner(file string) error {
	s, err := loadSigner(file)
	if err == nil {
		r.signers = append(r.signers, s)
	}
	return err
}

// rewrite returns a file of this machine with its new content, nil where nothing in it changes. Only certificates differ.
func (r *resigner) rewrite(c credential) (string, []byte, error) {
	file, err := rooted.Resolve(r.opts.root, c.path)
	if err != nil {
		return "", nil, err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	var text []byte
	if c.kubeconfig {
		text, err = r.kubeconfig(old, r.selected(c))
	} else {
		text, err = replaceCertificates(old, func(der []byte) ([]byte, error) { return r.resign(der, r.selected(c)) })
	}
	if bytes.Equal(text, old) {
		text = nil
	}
	return file, text, err
}

func (r *resigner) selected(c credential) bool {
	matches := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			byPath, _ := path.Match(pattern, c.path)
			return pattern == c.id || byPath
		})
	}
	return (len(r.opts.only) == 0 || matches(r.opts.only)) && !matches(r.opts.skip)
}

func (r *resigner) kubeconfig(text []byte, selected bool) ([]byte, error) {
	var failure error
	text = kubeconfigData.ReplaceAllFunc(text, func(match []byte) []byte {
		parts := kubeconfigData.FindSubmatch(match)
		pem, err := base64.StdEncoding.DecodeString(string(parts[2]))
		if err == nil {
			pem, err = replaceCertificates(pem, func(der []byte) ([]byte, error) { return r.resign(der, selected) })
		}
		if err != nil {
			failure = err
		}
		return base64.StdEncoding.AppendEncode(parts[1], pem)
	})
	return text, failure
}

// resign returns the certificate that takes der's place: der itself where it is not to change.
func (r *resigner) resign(der []byte, selected bool) ([]byte, error) {
	if again, ok := r.done[string(der)]; ok {
		return again, nil
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if !selected || cert.IsCA && !r.opts.cas {
		return der, nil
	}
	for _, s := range r.signers {
		if s.cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
			continue
		}
		dates := validity{r.opts.notBefore.UTC().Truncate(time.Second), r.opts.notAfter.UTC().Truncate(time.Second)}
		organization := r.opts.organization
		if cert.IsCA {
			organization = ""
		}
		again, err := s.resign(cert, dates, organization)
		r.done[string(der)] = again
		return again, err
	}
	return nil, fmt.Errorf("no CA with a key here signed %q: name it with -signer, or skip this one", cert.Subject)
}
