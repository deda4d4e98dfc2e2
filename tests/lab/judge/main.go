// Judge says what Go's crypto/x509, the verifier inside every Kubernetes component, makes of certificates and trees.
package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const usage = `usage: judge verify -ca F [-chain F] -cert F [-key F] -usage server|client|any [-at RFC3339] [-dns NAME] [-ip IP]
       judge compare OLD NEW
       judge kubeconfig FILE -ca F [-root DIR] [-at RFC3339]
       judge tree ROOT [-at RFC3339]`

// errRejected ends a judgement whose lines have been printed already.
var errRejected = errors.New("rejected")

// usageError is a mistake on the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func main() {
	err := judge(os.Args[1:])
	var misuse usageError
	switch {
	case err == nil:
	case errors.As(err, &misuse):
		fmt.Fprintln(os.Stderr, misuse)
		os.Exit(2)
	case errors.Is(err, errRejected):
		os.Exit(1)
	default:
		fmt.Println("bad:", err)
		os.Exit(1)
	}
}

func judge(args []string) error {
	if len(args) == 0 {
		return usageError(usage)
	}
	switch args[0] {
	case "verify":
		return judgeVerify(args[1:])
	case "compare":
		return judgeCompare(args[1:])
	case "kubeconfig":
		return judgeKubeconfig(args[1:])
	case "tree":
		return judgeTree(args[1:])
	}
	return usageError(usage)
}

// flagSet is a FlagSet whose flags may also follow the positional arguments.
type flagSet struct {
	*flag.FlagSet
	at time.Time
}

func newFlagSet(name string) *flagSet {
	f := &flagSet{flag.NewFlagSet(name, flag.ContinueOnError), time.Now()}
	f.SetOutput(io.Discard)
	f.Func("at", "judge as of this time", func(text string) (err error) {
		f.at, err = time.Parse(time.RFC3339, text)
		return err
	})
	return f
}

// parse returns exactly so many positional arguments.
func (f *flagSet) parse(args []string, positionals int) ([]string, error) {
	var found []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, usageError(fmt.Sprintf("%v\n%s", err, usage))
		}
		if f.NArg() == 0 {
			break
		}
		found, args = append(found, f.Arg(0)), f.Args()[1:]
	}
	if len(found) != positionals {
		return nil, usageError(usage)
	}
	return found, nil
}

func judgeVerify(args []string) error {
	flags := newFlagSet("verify")
	ca := flags.String("ca", "", "roots")
	chain := flags.String("chain", "", "intermediates")
	cert := flags.String("cert", "", "the certificate, perhaps with its chain")
	key := flags.String("key", "", "its key")
	use := flags.String("usage", "", "server, client or any")
	dns := flags.String("dns", "", "a name it must hold for")
	ip := flags.String("ip", "", "an address it must hold for")
	if _, err := flags.parse(args, 0); err != nil {
		return err
	}
	usages := map[string]x509.ExtKeyUsage{
		"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth, "any": x509.ExtKeyUsageAny,
	}
	wanted, known := usages[*use]
	if *ca == "" || *cert == "" || !known || *ip != "" && net.ParseIP(*ip) == nil {
		return usageError(usage)
	}
	t := trust{usage: wanted, at: flags.at}
	for _, name := range []string{*dns, *ip} {
		if name != "" {
			t.names = append(t.names, name)
		}
	}
	var err error
	if t.roots, err = os.ReadFile(*ca); err != nil {
		return err
	}
	if *chain != "" {
		if t.chain, err = os.ReadFile(*chain); err != nil {
			return err
		}
	}
	pem, err := os.ReadFile(*cert)
	if err != nil {
		return err
	}
	if err := t.verify(pem); err != nil {
		return err
	}
	if *key != "" {
		keyPEM, err := os.ReadFile(*key)
		if err != nil {
			return err
		}
		if err := verifyPair(pem, keyPEM); err != nil {
			return err
		}
	}
	fmt.Println("ok")
	return nil
}

func judgeCompare(args []string) error {
	files, err := newFlagSet("compare").parse(args, 2)
	if err != nil {
		return err
	}
	result, err := compare(files[0], files[1])
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(result)
}

func judgeKubeconfig(args []string) error {
	flags := newFlagSet("kubeconfig")
	ca := flags.String("ca", "", "roots")
	root := flags.String("root", "/", "the directory that files it refers to lie below")
	files, err := flags.parse(args, 1)
	if err != nil {
		return err
	}
	if *ca == "" {
		return usageError(usage)
	}
	roots, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	if err := verifyKubeconfig(files[0], *root, trust{roots: roots, usage: x509.ExtKeyUsageClientAuth, at: flags.at}); err != nil {
		return err
	}
	fmt.Println("ok")
	return nil
}

func judgeTree(args []string) error {
	flags := newFlagSet("tree")
	roots, err := flags.parse(args, 1)
	if err != nil {
		return err
	}
	rejected := false
	for _, v := range verifyTree(roots[0], flags.at) {
		if v.err == nil {
			fmt.Println("ok", v.id)
			continue
		}
		rejected = true
		fmt.Printf("bad %s: %v\n", v.id, v.err)
	}
	if rejected {
		return errRejected
	}
	return nil
}
