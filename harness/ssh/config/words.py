"""The words of a line of ssh_config: the keywords there are, quotes, backslashes and comments (ssh_config(5)).

Quotes are read as OpenSSH does since 8.7. The keywords are those that some OpenSSH client knows: those of 7.4 to 10.2,
and Debian's and Red Hat's own. What is in none of them is a slip of the pen, or no ssh_config at all; ssh refuses it,
and so does our reader.
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

_SPACE: Final = " \t\r\f\v"
_ESCAPABLE: Final = "\\\"'"


class BadLineError(Exception):
    """A line that has no words: its quotes do not end."""


def split_keyword(line: str) -> tuple[str, str]:
    """Return a line's keyword in small letters and the rest; two empty texts for a comment or nothing."""
    line = line.strip(_SPACE)
    if not line or line.startswith("#"):
        return "", ""
    end = next((index for index, letter in enumerate(line) if letter in _SPACE or letter == "="), len(line))
    rest = line[end:].lstrip(_SPACE)
    if rest.startswith("="):
        rest = rest[1:].lstrip(_SPACE)
    return line[:end].strip('"').lower(), rest


def words(text: str, splitting: str = "") -> list[str]:
    """Return the words of a text, up to one that begins with ``#``; ``splitting`` holds more letters that end a word.

    Raises BadLineError.
    """
    found: list[str] = []
    index = 0
    while index < len(text):
        if text[index] in _SPACE or text[index] in splitting:
            index += 1
            continue
        if text[index] == "#":
            break
        word, index = _word(text, index, splitting)
        found.append(word)
    return found


def _word(text: str, index: int, splitting: str) -> tuple[str, int]:
    """Return the word that begins at ``index``, and where it ends."""
    word, quote = "", ""
    while index < len(text):
        letter, following = text[index], text[index + 1 : index + 2]
        if letter == "\\" and following and (following in _ESCAPABLE or (not quote and following == " ")):
            word, index = word + following, index + 1
        elif not quote and (letter in _SPACE or letter in splitting):
            break
        elif not quote and letter in "\"'":
            quote = letter
        elif quote and letter == quote:
            quote = ""
        else:
            word += letter
        index += 1
    if quote:
        raise BadLineError("invalid quotes")
    return word, index
