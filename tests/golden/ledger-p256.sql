CREATE TABLE IF NOT EXISTS certificate_ledger (
  cert_name VARCHAR(255) NOT NULL,
  action VARCHAR(6) NOT NULL CHECK (action IN ('CREATE', 'UPDATE', 'REVOKE')),
  expire_date TIMESTAMP NOT NULL,
  operator VARCHAR(255) NOT NULL,
  created_at TIMESTAMP NOT NULL,
  serial VARCHAR(64) NOT NULL,
  run VARCHAR(64) NOT NULL
);
INSERT INTO certificate_ledger VALUES ('kubelet-client', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-server', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-peer', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver-etcd-client', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver-kubelet-client', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('front-proxy-client', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('controller-manager.conf', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('scheduler.conf', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-healthcheck-client', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('admin.conf', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('super-admin.conf', 'UPDATE', '####-##-## ##:##:##', 'Jane Doe', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('super-admin.conf', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('admin.conf', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-healthcheck-client', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('scheduler.conf', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('controller-manager.conf', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('front-proxy-client', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver-kubelet-client', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('apiserver-etcd-client', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-peer', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('etcd-server', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
INSERT INTO certificate_ledger VALUES ('kubelet-client', 'REVOKE', '####-##-## ##:##:##', 'O''Hara, "Bob"', '####-##-## ##:##:##', '################################', '########T######Z-######');
