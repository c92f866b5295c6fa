"""Judges what testssl.sh wrote: tls_findings.py JSON HOST.

Fails on any finding of weight, on any look that failed, and where a thing that must be seen was not looked at.
"""

import json
import sys

# What must have been looked at, and what must have been found.
WANTED = {
    "SSLv2": "not offered",
    "SSLv3": "not offered",
    "TLS1": "not offered",
    "TLS1_1": "not offered",
    "TLS1_2": "offered",
    "TLS1_3": "offered with final",
    "cipherlist_NULL": "not offered",
    "cipherlist_aNULL": "not offered",
    "cipherlist_EXPORT": "not offered",
    "cipherlist_LOW": "not offered",
    "cipherlist_3DES_IDEA": "not offered",
    "cert_trust": "Ok via SAN",
    "cert_chain_of_trust": "passed.",
    "secure_renego": "supported",
    "secure_client_renego": "not vulnerable",
    "CRIME_TLS": "not vulnerable",
    "heartbleed": "not vulnerable",
    "CCS": "not vulnerable",
    "ROBOT": "not vulnerable",
    "POODLE_SSL": "not vulnerable",
    "SWEET32": "not vulnerable",
    "FREAK": "not vulnerable",
    "DROWN": "not vulnerable",
    "LOGJAM": "not vulnerable",
    "BEAST": "not vulnerable",
    "LUCKY13": "not vulnerable",
    "RC4": "not vulnerable",
}
# Versions of testssl name these differently.
WANTED_OF_SOME_NAME = {
    ("cipherlist_AVERAGE", "cipherlist_OBSOLETED"): "not offered",
    ("cipherlist_STRONG", "cipherlist_STRONG_FS"): "offered",
    ("PFS", "FS"): "offered",
}
# The authority of this test publishes no revocations and binds no names in DNS; nothing of that is the server's.
OF_THE_AUTHORITY = {"cert_revocation", "OCSP_stapling", "DNS_CAArecord", "certificate_transparency"}
HARMLESS = {"OK", "INFO", "DEBUG", "LOW"}
# Looks of testssl that may fail by themselves: by the openssl it finds, or where its s_client ends too early over STARTTLS
# to keep a session. A WARN of theirs is no finding; anything weightier is.
OF_TESTSSL = {"engine_problem", "sessionresumption_ticket", "sessionresumption_ID"}


def main():
    path, host = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        findings = json.load(file)
    wrong = []
    seen = {}
    for finding in findings:
        name, severity = finding["id"], finding["severity"]
        seen[name] = finding["finding"]
        excused = name in OF_THE_AUTHORITY or (severity == "WARN" and name in OF_TESTSSL)
        if severity not in HARMLESS and not excused:
            wrong.append(f"{severity} {name}: {finding['finding']}")
    wanted = [((name,), beginning) for name, beginning in WANTED.items()]
    for names, beginning in wanted + list(WANTED_OF_SOME_NAME.items()):
        found = [seen[name] for name in names if name in seen]
        if not found:
            wrong.append(f"{names[0]} was not looked at")
        for finding in found:
            # "likely" is said where the server just ends the connection.
            if not finding.lower().removeprefix("likely ").startswith(beginning.lower()):
                wrong.append(f"{names[0]}: {finding}, not {beginning}")
    if host not in seen.get("cert_subjectAltName", "").split():
        wrong.append(f"a certificate for {seen.get('cert_subjectAltName')}")
    for line in wrong:
        print(line)
    print(f"{len(findings)} findings, {len(wrong)} of them wrong; {seen.get('PFS_ciphers') or seen.get('FS_ciphers')}")
    sys.exit(1 if wrong else 0)


main()
