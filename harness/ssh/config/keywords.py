"""Every keyword that some OpenSSH client knows: those of 7.4 to 10.2, and Debian's and Red Hat's own.

What is in none of them is a slip of the pen, or no ssh_config at all; ssh refuses it, and so does our reader.
"""

from __future__ import annotations

from typing import Final

KEYWORDS: Final = frozenset({
    "host", "match", "include", "ignoreunknown", "tag", "versionaddendum", "refuseconnection", "warnweakcrypto",
    "addkeystoagent", "addressfamily", "batchmode", "bindaddress", "bindinterface", "canonicaldomains",
    "canonicalizefallbacklocal", "canonicalizehostname", "canonicalizemaxdots", "canonicalizepermittedcnames",
    "casignaturealgorithms", "certificatefile", "challengeresponseauthentication", "channeltimeout", "checkhostip",
    "cipher", "ciphers", "clearallforwardings", "compression", "compressionlevel", "connectionattempts",
    "connecttimeout", "controlmaster", "controlpath", "controlpersist", "dsaauthentication", "dynamicforward",
    "enableescapecommandline", "enablesshkeysign", "escapechar", "exitonforwardfailure", "fallbacktorsh",
    "fingerprinthash", "forkafterauthentication", "forwardagent", "forwardx11", "forwardx11timeout",
    "forwardx11trusted", "gatewayports", "globalknownhostsfile", "globalknownhostsfile2", "gssapiauthentication",
    "gssapiclientidentity", "gssapidelegatecredentials", "gssapikexalgorithms", "gssapikeyexchange",
    "gssapirenewalforcesrekey", "gssapiserveridentity", "gssapitrustdns", "hashknownhosts",
    "hostbasedacceptedalgorithms", "hostbasedacceptedkeytypes", "hostbasedauthentication", "hostbasedkeytypes",
    "hostkeyalgorithms", "hostkeyalias", "hostname", "identitiesonly", "identityagent", "identityfile",
    "identityfile2", "ipqos", "kbdinteractiveauthentication", "kbdinteractivedevices", "keepalive", "kexalgorithms",
    "knownhostscommand", "localcommand", "localforward", "loglevel", "logverbose", "macs",
    "nohostauthenticationforlocalhost", "numberofpasswordprompts", "obscurekeystroketiming",
    "passwordauthentication", "permitlocalcommand", "permitremoteopen", "pkcs11provider", "port",
    "preferredauthentications", "protocol", "protocolkeepalives", "proxycommand", "proxyjump", "proxyusefdpass",
    "pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes", "pubkeyauthentication", "rekeylimit", "remotecommand",
    "remoteforward", "requesttty", "requiredrsasize", "revokedhostkeys", "rhostsauthentication",
    "rhostsrsaauthentication", "rsaauthentication", "rsaminsize", "securitykeyprovider", "sendenv",
    "serveralivecountmax", "serveraliveinterval", "sessiontype", "setenv", "setuptimeout", "skeyauthentication",
    "smartcarddevice", "stdinnull", "streamlocalbindmask", "streamlocalbindunlink", "stricthostkeychecking",
    "syslogfacility", "tcpkeepalive", "tunnel", "tunneldevice", "updatehostkeys", "user", "useprivilegedport",
    "userknownhostsfile", "userknownhostsfile2", "useroaming", "usersh", "verifyhostkeydns", "visualhostkey",
    "xauthlocation",
})  # fmt: skip
