# The cases of tests/lab/trees: what makes each of them unlike the others. Sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # Variables and hooks go to and come from tests/lab/trees.

# What a case is unless it says otherwise. Its three hooks run before kubeadm, after kubeadm, and at the end.
defaults() {
	hostname=cp1 node=cp1 address=192.168.61.11 services=10.96.0.0/12
	endpoint="" sans="" etcd="" algorithm=ECDSA-P256
	finalized=yes # the kubelet has run, and its kubeconfig refers to its own file
	pki=$root/etc/kubernetes/pki
	description="" notes="" made_by=(kubeadm)
	authorities() { :; }
	dress() { :; }
	finish() { :; }
}

case_rsa() {
	description="RSA-2048 throughout, kubeadm's default; extra SANs of every kind that kubeadm takes"
	algorithm=RSA-2048 endpoint=api.example.test:6443
	sans='"k8s.example.test", "*.cp.example.test", "203.0.113.7", "2001:db8::7"'
}

case_p256() {
	description="ECDSA P-256 throughout"
}

case_p384() {
	description="ECDSA P-384 throughout"
	algorithm=ECDSA-P384
}

case_long-name() {
	description="a fully qualified node name unlike the hostname, IPv6 first, dual-stack services"
	node=cp1.rack-17.prod.example.test address=2001:db8:61::11 services=fd00:10:96::/112,10.96.0.0/12
}

case_masters() {
	description="the subjects of kubeadm 1.28 and before: O=system:masters, no super-admin.conf"
	made_by+=(expire)
	dress() {
		"$bin/expire" -root "$root" -organization system:masters \
			-only apiserver-kubelet-client,apiserver-etcd-client,etcd-healthcheck-client,admin.conf \
			-not-before "$(date -u -d '5 minutes ago' +%FT%TZ)" -not-after "$(date -u -d '365 days' +%FT%TZ)"
		rm "$root/etc/kubernetes/super-admin.conf"
	}
}

case_embedded() {
	description="kubelet.conf with embedded data and no files of the kubelet, as before its first start"
	finalized=""
}

case_external-etcd() {
	description="etcd lives elsewhere: its CA and the apiserver's client pair were given to kubeadm"
	notes="the key of the etcd CA is not in the tree but in offline/etcd-ca.key"
	made_by+=(cfssl)
	local in_tree=/etc/kubernetes/pki/etcd-external
	etcd="etcd: {external: {endpoints: [\"https://192.168.61.21:2379\"], caFile: $in_tree/ca.crt,
  certFile: $in_tree/client.crt, keyFile: $in_tree/client.key}}"
	authorities() {
		cfssl_ca "$offline/etcd-ca" etcd-ca
		mkdir -p "$pki/etcd-external"
		cp "$offline/etcd-ca.crt" "$pki/etcd-external/ca.crt"
		"$bin/cfssl" gencert -loglevel 3 -ca "$offline/etcd-ca.crt" -ca-key "$offline/etcd-ca.key" -profile client \
			-config <(echo '{"signing": {"profiles": {"client": {"expiry": "8760h", "usages": ["digital signature", "client auth"]}}}}') \
			<(echo '{"CN": "kube-apiserver-etcd-client", "key": {"algo": "ecdsa", "size": 256}}') |
			cfssl_files "$pki/etcd-external/client"
	}
}

case_symlink() {
	description="etc/kubernetes/pki is an absolute symbolic link to /etc/kubernetes/ssl"
	pki=$root/etc/kubernetes/ssl
	authorities() {
		mkdir -p "$pki"
		ln -s /etc/kubernetes/ssl "$root/etc/kubernetes/pki"
	}
}

case_subject-full() {
	description="CA subjects with C, ST, L, O, OU and CN"
	made_by+=(cfssl)
	authority() { cfssl_ca "$pki/$1" "$2" '{"C": "DE", "ST": "Hessen", "L": "Frankfurt am Main", "O": "Example Bank AG", "OU": "Platform"}'; }
	authorities() { each_ca authority; }
}

case_repeated-ou() {
	description="CA subjects in which OU and DC occur more than once"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" p256 "/DC=org/DC=example/OU=A/OU=B/OU=C/CN=$2"; }
	authorities() { each_ca authority; }
}

case_utf8() {
	description="CA subjects with UTF-8 text"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" p256 "/O=Prüf-Stelle 银行/CN=$2 Prüf-Stelle 银行"; }
	authorities() { each_ca authority; }
}

case_multi-rdn() {
	description="CA subjects with multi-valued RDNs"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" p256 "/C=DE/O=Example+OU=Platform/CN=$2+serialNumber=42"; }
	authorities() { each_ca authority; }
}

case_no-ski() {
	description="CAs without a subject key identifier, so leaves without an authority key identifier"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" p256 "/CN=$2" "$ca_usage" basicConstraints=critical,CA:TRUE subjectKeyIdentifier=none; }
	authorities() { each_ca authority; }
}

case_pathlen0() {
	description="CAs with a path length of 0"
	made_by+=(openssl)
	authority() {
		make_ca "$pki/$1" p256 "/CN=$2" "$ca_usage" basicConstraints=critical,CA:TRUE,pathlen:0 subjectKeyIdentifier=hash
	}
	authorities() { each_ca authority; }
}

case_intermediate() {
	description="intermediate CAs: each ca.crt is the intermediate followed by the root"
	notes="the key of the root is not in the tree but in offline/root.key"
	made_by+=(openssl)
	authority() {
		make_ca "$pki/$1" p256 "/O=Example/CN=$2"
		sign "$pki/$1.crt" "$offline/root" "$ca_usage" basicConstraints=critical,CA:TRUE,pathlen:0 \
			subjectKeyIdentifier=hash authorityKeyIdentifier=keyid
		cat "$offline/root.crt" >>"$pki/$1.crt"
	}
	authorities() {
		make_ca "$offline/root" p256 "/O=Example/CN=Example Root"
		each_ca authority
	}
}

case_ca-p521() {
	description="ECDSA P-521 CAs over P-256 leaves"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" p521 "/CN=$2"; }
	authorities() { each_ca authority; }
}

case_ca-ed25519() {
	description="Ed25519 CAs over P-256 leaves"
	notes="kubeadm refuses Ed25519 keys: its leaves were signed again with openssl"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" ed25519 "/CN=$2"; }
	dress() {
		local name conf
		each_ca authority
		for name in apiserver apiserver-kubelet-client; do
			sign_again "$pki/$name.crt" "$pki/ca"
		done
		sign_again "$pki/front-proxy-client.crt" "$pki/front-proxy-ca"
		for name in etcd/server etcd/peer etcd/healthcheck-client apiserver-etcd-client; do
			sign_again "$pki/$name.crt" "$pki/etcd/ca"
		done
		for conf in "$root"/etc/kubernetes/*.conf; do
			conf_get "$conf" client-certificate-data >"$work/client.crt"
			conf_get "$conf" client-key-data >"$work/client.key"
			sign_again "$work/client.crt" "$pki/ca"
			conf_set "$conf" client-certificate-data <"$work/client.crt"
			conf_set "$conf" certificate-authority-data <"$pki/ca.crt"
		done
		rm "$work"/client.{crt,key}
	}
}

case_ca-rsa4096() {
	description="RSA-4096 CAs over P-256 leaves"
	made_by+=(openssl)
	authority() { make_ca "$pki/$1" rsa:4096 "/CN=$2"; }
	authorities() { each_ca authority; }
}

case_key-pkcs8() {
	description="every private key as PKCS#8"
	made_by+=(openssl)
	form() { openssl pkcs8 -topk8 -nocrypt; }
	dress() { each_key form; }
}

case_key-sec1-params() {
	description="every private key as SEC1 behind a block EC PARAMETERS"
	made_by+=(openssl)
	form() { openssl ecparam -name prime256v1 && cat; }
	dress() { each_key form; }
}

case_key-nopub() {
	description="every private key as PKCS#8 without the public key that RFC 5915 leaves optional"
	made_by+=(openssl)
	# No option of openssl writes this: it is the fixed DER of a P-256 key up to the 32 bytes of the key itself.
	form() {
		local hex=3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420
		hex+=$(openssl asn1parse | sed -n 's/.*OCTET STRING *\[HEX DUMP\]://p')
		echo "-----BEGIN PRIVATE KEY-----"
		# shellcheck disable=SC2059,SC2001 # The format is the data, and & needs sed.
		printf "$(sed 's/../\\x&/g' <<<"$hex")" | base64 -w 64
		echo "-----END PRIVATE KEY-----"
	}
	dress() { each_key form; }
}

case_pem-crlf() {
	description="certificates, keys and kubeconfigs with CRLF line ends"
	made_by+=(sed)
	finish() { find "$root" -type f \( -name '*.crt' -o -name '*.key' -o -name '*.conf' -o -name '*.pem' \) -exec sed -i 's/$/\r/' {} +; }
}

case_pem-bom() {
	description="a byte order mark and bag attributes before each certificate and key in the PKI directory"
	made_by+=(openssl)
	finish() {
		local file
		find "$pki" -type f -name '*.crt' | while read -r file; do
			{
				printf '\xef\xbb\xbfBag Attributes\n    friendlyName: %s\n' "$(basename "$file" .crt)"
				openssl x509 -in "$file" -noout -subject -issuer
				cat "$file"
			} | overwrite "$file"
		done
		find "$pki" -type f -name '*.key' | while read -r file; do
			{
				printf '\xef\xbb\xbfBag Attributes\n    friendlyName: %s\nKey Attributes: <No Attributes>\n' "$(basename "$file" .key)"
				cat "$file"
			} | overwrite "$file"
		done
	}
}

case_exotic-san() {
	description="an apiserver certificate with URI, email, wildcard and IPv6 SANs and extensions that nobody knows"
	made_by+=(openssl)
	dress() {
		sign "$pki/apiserver.crt" "$pki/ca" keyUsage=critical,digitalSignature,keyEncipherment extendedKeyUsage=serverAuth \
			basicConstraints=critical,CA:FALSE subjectKeyIdentifier=none authorityKeyIdentifier=keyid 1.3.6.1.4.1.55555.1.1=ASN1:UTF8String:rack-17 \
			"subjectAltName=$(names "$pki/apiserver.crt"),DNS:*.apps.example.test,IP:2001:db8::7,URI:spiffe://example.test/apiserver,email:ops@example.test" \
			1.3.6.1.4.1.55555.1.2=DER:0500
	}
}

ca_usage=keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign

# each_ca FUNCTION: calls it for the base name and the common name of kubeadm's three CAs.
each_ca() {
	mkdir -p "$pki/etcd"
	"$1" ca kubernetes
	"$1" front-proxy-ca front-proxy-ca
	"$1" etcd/ca etcd-ca
}

# each_key FUNCTION: puts every private key, also those in kubeconfigs, through a filter.
each_key() {
	local file
	find "$pki" -type f -name '*.key' | while read -r file; do
		# shellcheck disable=SC2094 # overwrite reads everything before it writes.
		"$1" <"$file" | overwrite "$file"
	done
	for file in "$root"/etc/kubernetes/*.conf; do
		conf_get "$file" client-key-data | "$1" | conf_set "$file" client-key-data
	done
}

# make_ca BASE ALGORITHM SUBJECT [EXTENSION...]: a self-signed CA, BASE.crt and BASE.key.
make_ca() {
	local base=$1 key
	case $2 in
	p256) key=(EC -pkeyopt ec_paramgen_curve:P-256) ;;
	p521) key=(EC -pkeyopt ec_paramgen_curve:P-521) ;;
	rsa:*) key=(RSA -pkeyopt "rsa_keygen_bits:${2#rsa:}") ;;
	ed25519) key=(ED25519) ;;
	esac
	local subject=$3
	shift 3
	(($#)) || set -- "$ca_usage" basicConstraints=critical,CA:TRUE subjectKeyIdentifier=hash
	(umask 077 && openssl genpkey -quiet -algorithm "${key[@]}" -out "$base.key")
	openssl req -new -x509 -key "$base.key" -utf8 -subj "$subject" -days 3650 -out "$base.crt" \
		-config <(printf '%s\n' '[req]' distinguished_name=name x509_extensions=extensions '[name]' '[extensions]' "$@")
}

# sign CRT CA EXTENSION...: gives a certificate, whose key lies beside it, another signer and just these extensions;
# openssl adds a subject key identifier unless it is told none.
sign() {
	local crt=$1 ca=$2
	shift 2
	# openssl gives another signer to requests and to self-signed certificates only.
	# shellcheck disable=SC2094 # overwrite reads everything before it writes.
	openssl x509 -x509toreq -in "$crt" -signkey "${crt%.crt}.key" |
		openssl x509 -req -CA "$ca.crt" -CAkey "$ca.key" -days 365 -extfile <(printf '%s\n' "$@") | overwrite "$crt"
}

# sign_again CRT CA: gives a kubeadm leaf another signer.
sign_again() {
	local uses san
	uses=$(openssl x509 -in "$1" -noout -ext extendedKeyUsage |
		sed -n 's/TLS Web \(Server\|Client\) Authentication/\L\1\EAuth/g; s/^ *\(.*Auth.*\)/\1/p')
	san=$(names "$1")
	sign "$1" "$2" keyUsage=critical,digitalSignature,keyEncipherment "extendedKeyUsage=$uses" \
		basicConstraints=critical,CA:FALSE subjectKeyIdentifier=none authorityKeyIdentifier=keyid ${san:+"subjectAltName=$san"}
}

# names CRT: the subject alternative names as openssl wants to read them.
names() {
	openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null | sed -n 's/IP Address:/IP:/g; s/^ *\(\(DNS\|IP\):.*\)/\1/p'
}

# cfssl_ca BASE CN [NAMES]: a self-signed CA by cfssl, BASE.crt and BASE.key.
cfssl_ca() {
	"$bin/cfssl" genkey -loglevel 3 -initca \
		<(echo "{\"CN\": \"$2\", \"key\": {\"algo\": \"ecdsa\", \"size\": 256}, \"ca\": {\"expiry\": \"87600h\"}, \"names\": [${3-}]}") |
		cfssl_files "$1"
}

# cfssl_files BASE: what cfssl prints, as BASE.crt and BASE.key.
cfssl_files() {
	"$bin/cfssljson" -bare "$1"
	mv "$1.pem" "$1.crt"
	mv "$1-key.pem" "$1.key"
	rm "$1.csr"
	chmod 644 "$1.crt"
}

# conf_get FILE KEY: what a kubeconfig embeds under a key, decoded.
conf_get() {
	sed -n "s/^ *$2: //p" "$1" | base64 -d
}

# conf_set FILE KEY: embeds standard input.
conf_set() {
	local data
	data=$(base64 -w 0)
	sed -i "s|$2: .*|$2: $data|" "$1"
}

# overwrite FILE: standard input becomes its content, once all of it is there; the file keeps its mode.
overwrite() {
	local content
	content=$(cat)
	[[ $content ]] && echo "$content" >"$1"
}
