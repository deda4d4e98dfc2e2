// Verification of one certificate, one pair, one kubeconfig, with nothing but crypto/x509, crypto/tls and clientcmd.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"rescue-kit/tests/lab/rooted"
)

// trust is what a peer believes: roots, more certificates, a purpose, names, a time.
type trust struct {
	roots, chain []byte // PEM
	usage        x509.ExtKeyUsage
	names        []string
	at           time.Time
}

// verify judges the first certificate of a PEM text; those after it count as its chain.
func (t trust) verify(text []byte) error {
	certs, err := parse(text)
	if err != nil {
		return err
	}
	roots, err := parse(t.roots)
	if err != nil {
		return fmt.Errorf("roots: %w", err)
	}
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: t.at, KeyUsages: []x509.ExtKeyUsage{t.usage},
	}
	for _, root := range roots {
		options.Roots.AddCert(root)
	}
	chain := certs[1:]
	if t.chain != nil {
		more, err := parse(t.chain)
		if err != nil {
			return fmt.Errorf("chain: %w", err)
		}
		chain = append(chain, more...)
	}
	for _, intermediate := range chain {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := certs[0].Verify(options); err != nil {
		return err
	}
	for _, name := range t.names {
		if err := certs[0].VerifyHostname(name); err != nil {
			return err
		}
	}
	return nil
}

// verifyCA judges a CA's file: first certificate is a CA, in its dates, and that of the key if there is one.
func verifyCA(text, key []byte, at time.Time) error {
	certs, err := parse(text)
	if err != nil {
		return err
	}
	if !certs[0].BasicConstraintsValid || !certs[0].IsCA {
		return errors.New("not a CA certificate")
	}
	if err := (trust{roots: text, usage: x509.ExtKeyUsageAny, at: at}).verify(text); err != nil {
		return err
	}
	if key == nil {
		return nil
	}
	return verifyPair(text, key)
}

func verifyPair(cert, key []byte) error {
	_, err := tls.X509KeyPair(cert, key)
	return err
}

// verifyKubeconfig judges the current context's user and the CA data of its cluster, which must hold one of the roots.
func verifyKubeconfig(file, root string, t trust) error {
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return err
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil {
		return fmt.Errorf("no context %q", config.CurrentContext)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return fmt.Errorf("context %q without cluster or user", config.CurrentContext)
	}
	ca, err := material(cluster.CertificateAuthorityData, cluster.CertificateAuthority, root)
	if err != nil {
		return fmt.Errorf("certificate-authority: %w", err)
	}
	cert, err := material(user.ClientCertificateData, user.ClientCertificate, root)
	if err != nil {
		return fmt.Errorf("client-certificate: %w", err)
	}
	key, err := material(user.ClientKeyData, user.ClientKey, root)
	if err != nil {
		return fmt.Errorf("client-key: %w", err)
	}
	if err := sharesCertificate(ca, t.roots); err != nil {
		return fmt.Errorf("certificate-authority: %w", err)
	}
	if err := t.verify(cert); err != nil {
		return err
	}
	return verifyPair(cert, key)
}

// material is what a kubeconfig embeds, or the file below root that it refers to.
func material(data []byte, name, root string) ([]byte, error) {
	if len(data) > 0 {
		return data, nil
	}
	if name == "" {
		return nil, errors.New("neither data nor file")
	}
	file, err := rooted.Resolve(root, name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

func sharesCertificate(a, b []byte) error {
	left, err := parse(a)
	if err != nil {
		return err
	}
	right, err := parse(b)
	if err != nil {
		return err
	}
	for _, l := range left {
		for _, r := range right {
			if bytes.Equal(l.Raw, r.Raw) {
				return nil
			}
		}
	}
	return errors.New("not the CA of this tree")
}

// parse returns the certificates of a PEM text, at least one.
func parse(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return certs, nil
}
