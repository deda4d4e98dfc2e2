// Signing: a certificate's own bytes with another serial, other dates and a new signature.
package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"strings"
	"time"
)

// signer is a CA with its key.
type signer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// validity is the field of a certificate; encoding/asn1 chooses UTCTime or GeneralizedTime as RFC 5280 wants.
type validity struct{ NotBefore, NotAfter time.Time }

// certificate is the outermost SEQUENCE (RFC 5280, section 4.1).
type certificate struct {
	TBS       asn1.RawValue
	Algorithm asn1.RawValue
	Signature asn1.BitString
}

// loadSigner reads a CA from its file and its key's: of several certificates the one that belongs to the key.
func loadSigner(file string) (signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return signer{}, err
	}
	key, err := loadKey(keyOf(file))
	if err != nil {
		return signer{}, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for block, rest := pem.Decode(text); ok && block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return signer{}, fmt.Errorf("%s: %w", file, err)
		}
		if cert.IsCA && public.Equal(cert.PublicKey) {
			return signer{cert, key}, nil
		}
	}
	return signer{}, fmt.Errorf("%s: no CA certificate of the key beside it", file)
}

// keyOf names the key beside a certificate: ca.key beside ca.crt, ca-key.pem beside ca.pem.
func keyOf(file string) string {
	if name, ok := strings.CutSuffix(file, ".pem"); ok {
		return name + "-key.pem"
	}
	return strings.TrimSuffix(file, ".crt") + ".key"
}

func loadKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if key, ok := key.(crypto.Signer); ok {
				return key, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: no private key", file)
}

// resign returns cert with a new serial, the given dates and, unless it is empty, the organization. x509.CreateCertificate
// would encode the subject and the extensions anew, so the old bytes are spliced instead.
func (s signer) resign(cert *x509.Certificate, dates validity, organization string) ([]byte, error) {
	fields, err := elements(cert.RawTBSCertificate)
	if err != nil {
		return nil, err
	}
	first := 0
	if fields[0].Class == asn1.ClassContextSpecific {
		first = 1 // the version, absent from version 1
	}
	if len(fields) < first+6 {
		return nil, errors.New("a TBSCertificate with too few fields")
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt64-1))
	if err != nil {
		return nil, err
	}
	replace := func(index int, value any) {
		if err == nil {
			fields[index].FullBytes, err = asn1.Marshal(value)
		}
	}
	replace(first, serial.Add(serial, big.NewInt(1)))
	fields[first+2].FullBytes = s.cert.RawSubject
	replace(first+3, dates)
	if organization != "" {
		name := pkix.Name{CommonName: cert.Subject.CommonName, Organization: []string{organization}}
		replace(first+4, name.ToRDNSequence())
	}
	if err != nil {
		return nil, err
	}
	var content []byte
	for _, field := range fields {
		content = append(content, field.FullBytes...)
	}
	tbs, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
	if err != nil {
		return nil, err
	}
	signature, err := s.sign(tbs, cert.SignatureAlgorithm)
	if err != nil {
		return nil, err
	}
	der, err := asn1.Marshal(certificate{
		TBS:       asn1.RawValue{FullBytes: tbs},
		Algorithm: fields[first+1],
		Signature: asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		return nil, err
	}
	again, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return der, s.cert.CheckSignature(again.SignatureAlgorithm, again.RawTBSCertificate, again.Signature)
}

func (s signer) sign(tbs []byte, algorithm x509.SignatureAlgorithm) ([]byte, error) {
	var options crypto.SignerOpts
	switch algorithm {
	case x509.PureEd25519:
		return s.key.Sign(rand.Reader, tbs, crypto.Hash(0))
	case x509.SHA256WithRSA, x509.ECDSAWithSHA256:
		options = crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384:
		options = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512:
		options = crypto.SHA512
	case x509.SHA256WithRSAPSS:
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	default:
		return nil, fmt.Errorf("cannot sign with %v", algorithm)
	}
	hash := options.HashFunc().New()
	hash.Write(tbs)
	return s.key.Sign(rand.Reader, hash.Sum(nil), options)
}

// elements splits a SEQUENCE into its members.
func elements(der []byte) ([]asn1.RawValue, error) {
	var sequence asn1.RawValue
	if _, err := asn1.Unmarshal(der, &sequence); err != nil {
		return nil, err
	}
	var members []asn1.RawValue
	for rest := sequence.Bytes; len(rest) > 0; {
		var member asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &member); err != nil {
			return nil, err
		}
		members = append(members, member)
	}
	if len(members) == 0 {
		return nil, errors.New("an empty SEQUENCE")
	}
	return members, nil
}

// replaceCertificates puts other certificates into a PEM text; what is not a certificate keeps its bytes.
func replaceCertificates(text []byte, replace func([]byte) ([]byte, error)) ([]byte, error) {
	var out []byte
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return append(out, text...), nil
		}
		upTo := text[:len(text)-len(rest)]
		text = rest
		if block.Type != "CERTIFICATE" {
			out = append(out, upTo...)
			continue
		}
		der, err := replace(block.Bytes)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(der, block.Bytes) {
			out = append(out, upTo...)
			continue
		}
		begin := bytes.LastIndex(upTo, []byte("-----BEGIN "))
		encoded := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
		if bytes.Contains(upTo[begin:], []byte("\r\n")) {
			encoded = bytes.ReplaceAll(encoded, []byte("\n"), []byte("\r\n"))
		}
		out = append(append(out, upTo[:begin]...), encoded...)
	}
}
