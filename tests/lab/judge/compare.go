// Comparison of two certificates by their bytes, read with encoding/asn1 so that crypto/x509's taste plays no part.
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"k8s.io/client-go/tools/clientcmd"
)

// comparison names the parts of two certificates by whether their bytes differ.
type comparison struct {
	Differ       []string `json:"differ"`
	Same         []string `json:"same"`
	KeyAlgorithm pair     `json:"key_algorithm"`
	Serial       pair     `json:"serial"`
}

// pair is a value of either certificate.
type pair struct {
	Old string `json:"old"`
	New string `json:"new"`
}

// parts is a certificate taken to pieces. A missing piece is absent from the map.
type parts struct {
	raw          map[string][]byte
	extensions   []string // in their order
	keyAlgorithm string
	serial       string
}

// known are the extensions with a name of their own here.
var known = map[string]string{"2.5.29.14": "ski", "2.5.29.35": "aki", "2.5.29.17": "san"}

// fixed are the parts that are reported even where both certificates lack them, in the order of the report.
var fixed = []string{"serial", "signature_algorithm", "issuer", "validity", "subject", "spki", "ski", "aki", "san", "extension_order"}

func compare(oldFile, newFile string) (comparison, error) {
	before, err := dissect(oldFile)
	if err != nil {
		return comparison{}, fmt.Errorf("%s: %w", oldFile, err)
	}
	after, err := dissect(newFile)
	if err != nil {
		return comparison{}, fmt.Errorf("%s: %w", newFile, err)
	}
	others := maps.Clone(before.raw)
	maps.Copy(others, after.raw)
	for _, name := range fixed {
		delete(others, name)
	}
	result := comparison{
		Differ:       []string{},
		Same:         []string{},
		KeyAlgorithm: pair{before.keyAlgorithm, after.keyAlgorithm},
		Serial:       pair{before.serial, after.serial},
	}
	for _, name := range append(slices.Clone(fixed), slices.Sorted(maps.Keys(others))...) {
		same := bytes.Equal(before.raw[name], after.raw[name])
		if name == "extension_order" {
			same = slices.Equal(before.extensions, after.extensions)
		}
		if same {
			result.Same = append(result.Same, name)
		} else {
			result.Differ = append(result.Differ, name)
		}
	}
	return result, nil
}

// dissect reads the first certificate of a PEM text, of DER, or of a kubeconfig's current context.
func dissect(file string) (parts, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return parts{}, err
	}
	if config, err := clientcmd.Load(text); err == nil && config.CurrentContext != "" {
		context := config.Contexts[config.CurrentContext]
		if context == nil || config.AuthInfos[context.AuthInfo] == nil {
			return parts{}, errors.New("a kubeconfig whose current context has no user")
		}
		text = config.AuthInfos[context.AuthInfo].ClientCertificateData
	}
	der := text
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			der = block.Bytes
			break
		}
	}
	return dissectDER(der)
}

func dissectDER(der []byte) (parts, error) {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return parts{}, err
	}
	var tbs struct {
		Version    asn1.RawValue `asn1:"optional,tag:0"`
		Serial     asn1.RawValue
		Algorithm  asn1.RawValue
		Issuer     asn1.RawValue
		Validity   asn1.RawValue
		Subject    asn1.RawValue
		SPKI       asn1.RawValue
		IssuerID   asn1.RawValue   `asn1:"optional,tag:1"`
		SubjectID  asn1.RawValue   `asn1:"optional,tag:2"`
		Extensions []asn1.RawValue `asn1:"optional,explicit,tag:3"`
	}
	if _, err := asn1.Unmarshal(outer.TBS.FullBytes, &tbs); err != nil {
		return parts{}, err
	}
	p := parts{
		raw: map[string][]byte{
			"serial": tbs.Serial.FullBytes, "signature_algorithm": tbs.Algorithm.FullBytes, "issuer": tbs.Issuer.FullBytes,
			"validity": tbs.Validity.FullBytes, "subject": tbs.Subject.FullBytes, "spki": tbs.SPKI.FullBytes,
		},
		keyAlgorithm: keyAlgorithm(tbs.SPKI.FullBytes),
		serial:       fmt.Sprintf("%x", tbs.Serial.Bytes),
	}
	for _, extension := range tbs.Extensions {
		var oid asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(extension.Bytes, &oid); err != nil {
			return parts{}, err
		}
		name, named := known[oid.String()]
		if !named {
			name = "extension " + oid.String()
		}
		p.raw[name] = append(p.raw[name], extension.FullBytes...)
		p.extensions = append(p.extensions, oid.String())
	}
	return p, nil
}

func keyAlgorithm(spki []byte) string {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return "unknown"
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA-" + key.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}
