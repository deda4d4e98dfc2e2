// Requests makes a CA and folders of certificate requests, for measuring how fast they are signed.
//
// usage: requests DIR rsa|p256 COUNT
//
// DIR gets ca.crt, ca.key and folders/, in which every ten requests share a folder, as those of one node do. Keys are of
// the CA's kind. RSA keys are made a few and used again: making them is not what is measured.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// perFolder is how many requests share a folder.
const perFolder = 10

// pool is how many RSA keys there are.
const pool = 16

// ids are credentials of the layout kubeadm; the first and every third of them serve.
var ids = []string{
	"apiserver", "apiserver-kubelet-client", "controller-manager.conf", "etcd-server", "scheduler.conf",
	"admin.conf", "etcd-peer", "front-proxy-client", "kubelet-client", "kubelet-serving",
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: requests DIR rsa|p256 COUNT")
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[3])
	if err == nil {
		err = fill(os.Args[1], os.Args[2], count)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "requests:", err)
		os.Exit(1)
	}
}

func newKey(kind string) (crypto.Signer, error) {
	if kind == "rsa" {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func fill(dir, kind string, count int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ca, err := authority(dir, kind)
	if err != nil {
		return err
	}
	var keys []crypto.Signer
	for begin := 0; begin < count; begin += perFolder {
		for kind != "rsa" && len(keys) < begin+perFolder || len(keys) < pool {
			key, err := newKey(kind)
			if err != nil {
				return err
			}
			keys = append(keys, key)
		}
		at := filepath.Join(dir, "folders", fmt.Sprintf("node%05d", begin/perFolder))
		if err := folder(at, begin, ca, keys); err != nil {
			return err
		}
	}
	return nil
}

// authority writes ca.crt and ca.key.
func authority(dir, kind string) (*x509.Certificate, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	today := time.Now().Truncate(24 * time.Hour)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "kubernetes"},
		NotBefore:             today.AddDate(-1, 0, 0),
		NotAfter:              today.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := write(filepath.Join(dir, "ca.crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if err := write(filepath.Join(dir, "ca.key"), "PRIVATE KEY", pkcs8); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// folder writes the requests of one node and their manifest.
func folder(dir string, begin int, ca *x509.Certificate, keys []crypto.Signer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var entries []map[string]any
	for i, id := range ids {
		key := keys[(begin+i)%len(keys)]
		entry, der, err := request(id, begin+i, key)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, id+".csr"), "CERTIFICATE REQUEST", der); err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	caPem := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	issuer := map[string]any{"subject": "CN=kubernetes", "sha256": digest(ca.Raw), "pem": caPem}
	manifest := map[string]any{
		"schema": "rescue-kit/requests/v1", "tool": "bench", "request": filepath.Base(dir), "profile": "kubeadm",
		"node": map[string]any{"name": filepath.Base(dir), "id": digest([]byte(dir))},
		"at":   time.Now().UTC().Add(-time.Minute).Format(time.RFC3339), "requests": entries,
		"authorities": map[string]any{"ca": []any{issuer}},
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), text, 0o644)
}

// request makes one request with the extensions that kubeadm gives such a certificate, and its entry.
func request(id string, number int, key crypto.Signer) (map[string]any, []byte, error) {
	usages := map[string][]string{
		"apiserver": {"serverAuth"}, "kubelet-serving": {"serverAuth"},
		"etcd-server": {"serverAuth", "clientAuth"}, "etcd-peer": {"serverAuth", "clientAuth"},
	}[id]
	serves := usages != nil
	if !serves {
		usages = []string{"clientAuth"}
	}
	extended := map[string]asn1.ObjectIdentifier{
		"serverAuth": {1, 3, 6, 1, 5, 5, 7, 3, 1}, "clientAuth": {1, 3, 6, 1, 5, 5, 7, 3, 2},
	}
	var oids []asn1.ObjectIdentifier
	for _, usage := range usages {
		oids = append(oids, extended[usage])
	}
	extendedValue, err := asn1.Marshal(oids)
	if err != nil {
		return nil, nil, err
	}
	name := fmt.Sprintf("service-%d", number)
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	identifiers, sans := []string{}, []string{}
	if serves {
		template.DNSNames = []string{name, name + ".default.svc", "localhost"}
		template.IPAddresses = []net.IP{net.IPv4(10, 96, byte(number>>8), byte(number)).To4()}
		for _, dns := range template.DNSNames {
			sans = append(sans, "dns:"+dns)
		}
		sans = append(sans, "ip:"+template.IPAddresses[0].String())
		identifiers = append(identifiers, "2.5.29.17")
	}
	template.ExtraExtensions = []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: []byte{3, 2, 5, 0xa0}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: extendedValue},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0}},
	}
	identifiers = append(identifiers, "2.5.29.15", "2.5.29.37", "2.5.29.19")
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	algorithm := "ecdsa-p256"
	if _, ok := key.(*rsa.PrivateKey); ok {
		algorithm = "rsa-2048"
	}
	return map[string]any{
		"id": id, "file": id + ".csr", "signer": "ca", "serves": []string{id}, "subject": "CN=" + name,
		"common_name": name, "groups": []string{}, "sans": sans,
		"key_usages": []string{"digitalSignature", "keyEncipherment"}, "extended_usages": usages,
		"extensions": identifiers, "key": algorithm, "spki_sha256": digest(spki), "sha256": digest(der),
		"validity_seconds": 31536000, "chain": false,
	}, der, nil
}

func digest(bytes []byte) string {
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}

func write(at, kind string, der []byte) error {
	return os.WriteFile(at, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
