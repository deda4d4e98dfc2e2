//! Who may do what, and tokens of service accounts.

use serde_json::{Value, json};

use super::{Kube, KubeError, segment, unless};
use crate::pki::token::Token;
use crate::pki::utc::Utc;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

impl Kube {
    /// Whether we are somebody to the API server, and who: as [`Kube::who_am_i`], for servers before 1.28 without the name.
    ///
    /// # Errors
    ///
    /// As [`Kube::who_am_i`]; a refusal with 401 means that the credential is not accepted.
    pub fn accepts_us(&self) -> Result<Option<String>, KubeError> {
        match self.who_am_i() {
            Ok((name, _)) => Ok(Some(name)),
            // Known, and not allowed to ask: everybody who is known may, unless somebody took it away.
            Err(KubeError::Status {
                code: 403, message, ..
            }) if !message.contains("system:anonymous") => Ok(None),
            Err(error) if error.code() == Some(404) => match self.get("/api") {
                Err(error) if error.code() != Some(403) => Err(error),
                _ => Ok(None),
            },
            Err(error) => Err(error),
        }
    }

    /// Whether we may do something (`SelfSubjectAccessReview`). `resource` is a plural, with `/` and a subresource if one is
    /// meant; an empty `namespace` means all of them.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`] but [`KubeError::NotKept`].
    pub fn may(
        &self,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> Result<bool, KubeError> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "namespace": namespace,
            } },
        });
        let answer = self.create(REVIEWS, &review)?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// The `ClusterRole` with this name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`] but [`KubeError::NotKept`].
    pub fn role(&self, name: &str) -> Result<Option<Value>, KubeError> {
        let path = format!("{ROLES}/{}", segment(name)?);
        unless(404, self.get(&path))
    }

    /// Makes a token for a service account that ends by itself (`TokenRequest`), and tells when: the server may shorten it.
    /// It is refused as soon as the account is deleted.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`] but [`KubeError::NotKept`].
    pub fn token(
        &self,
        namespace: &str,
        account: &str,
        seconds: i64,
    ) -> Result<(Token, Utc), KubeError> {
        let (namespace, account) = (segment(namespace)?, segment(account)?);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": seconds },
        });
        let answer = self.create(&path, &request)?;
        let status = &answer["status"];
        let token = status["token"].as_str().and_then(Token::new);
        let end = status["expirationTimestamp"].as_str().and_then(Utc::parse);
        token.zip(end).ok_or(KubeError::Malformed {
            path,
            why: "it has no token",
        })
    }

    /// The token in a Secret of the type `kubernetes.io/service-account-token`; `None` until the controller manager has put
    /// it there.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`] but [`KubeError::NotKept`].
    pub fn token_in(&self, secret: &str) -> Result<Option<Token>, KubeError> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let object = self.get(secret)?;
        let Some(packed) = object["data"]["token"].as_str() else {
            return Ok(None);
        };
        let text = STANDARD.decode(packed).map(zeroize::Zeroizing::new).ok();
        let token = text
            .as_ref()
            .and_then(|text| std::str::from_utf8(text).ok());
        let token = token.and_then(Token::new);
        token.map(Some).ok_or_else(|| KubeError::Malformed {
            path: secret.to_owned(),
            why: "its token is none",
        })
    }

    /// Creates the object of a manifest (YAML) in the collection at `path`; gives it as it was stored.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`] but [`KubeError::NotKept`].
    pub fn create_from(&self, path: &str, manifest: &str) -> Result<Value, KubeError> {
        self.send(
            "POST",
            path,
            Some("application/yaml"),
            Some(manifest.as_bytes()),
        )
    }
}
