// Crowd fills a directory with certificates, for measuring how the time and memory of inspect grow with their number.
//
// usage: crowd DIR COUNT
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// perDirectory is how many certificates share a directory.
const perDirectory = 100

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: crowd DIR COUNT")
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = fill(os.Args[1], count)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// fill writes count leaves of one CA, in directories of a hundred; every tenth has expired.
func fill(dir string, count int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	today := time.Now().Truncate(24 * time.Hour)
	ca := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "crowd-ca"},
		NotBefore:             today.AddDate(-2, 0, 0),
		NotAfter:              today.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          []byte("crowd-ca of the bench"),
	}
	for i := range count {
		at := filepath.Join(dir, fmt.Sprintf("%03d", i/perDirectory), fmt.Sprintf("%05d.crt", i))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := write(at, leaf(i, today), ca, key); err != nil {
			return err
		}
	}
	return nil
}

// leaf is shaped like kubeadm's certificate of an apiserver.
func leaf(i int, today time.Time) *x509.Certificate {
	from := today.AddDate(-1, 0, 0)
	until := today.AddDate(9, 0, 0)
	if i%10 == 9 {
		until = today.AddDate(0, 0, -30)
	}
	return &x509.Certificate{
		SerialNumber: big.NewInt(int64(i) + 1),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("service-%d", i)},
		NotBefore:    from,
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{fmt.Sprintf("service-%d", i), fmt.Sprintf("service-%d.default.svc", i), "localhost"},
		IPAddresses:  []net.IP{net.IPv4(10, 96, byte(i>>8), byte(i))},
	}
}

// write signs a certificate for a key that is then forgotten.
func write(at string, template, ca *x509.Certificate, signer *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), signer)
	if err != nil {
		return err
	}
	return os.WriteFile(at, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
