/**
 * Words that languages of attacks are made of, in lower case: whether one of them is in a request is a feature. The list is fixed and public, so that
 * no word of a person’s own is ever one.
 */
export const MODEL_WORDS: readonly string[] = [
  // SQL, NoSQL, LDAP, XPath
  ...'select union insert update delete drop table from where and or having order group concat sleep benchmark waitfor delay'.split(
    ' ',
  ),
  ...'information schema exec execute xp cmdshell load outfile dumpfile char chr cast convert substring ascii like null version'.split(
    ' ',
  ),
  ...'ne gt lt regex exists expr function return objectclass uid cn mail count name text node position string length'.split(' '),
  // Markup and script
  ...'script alert onerror onload onclick onmouseover onfocus svg img iframe object embed javascript data document cookie'.split(
    ' ',
  ),
  ...'window location eval settimeout fromcharcode atob innerhtml prompt confirm style expression base64 html body href src'.split(
    ' ',
  ),
  // Files, commands
  ...'etc passwd shadow hosts proc self environ var log www htaccess htpasswd ini boot win windows system32 cmd exe powershell'.split(
    ' ',
  ),
  ...'bin sh bash zsh cat ls id whoami uname wget curl nc ncat netcat ping nslookup echo printf rm chmod chown kill sudo tmp dev'.split(
    ' ',
  ),
  ...'tcp python perl ruby php awk sed grep find xargs tar base tee head tail config env git svn backup sql bak old wp admin'.split(
    ' ',
  ),
  // Languages and frameworks
  ...'java lang runtime class forname getclass processbuilder getruntime invoke spring ognl jndi ldap rmi dns lower upper'.split(
    ' ',
  ),
  ...'import os popen subprocess globals builtins init mro subclasses request application config lipsum cycler jinja'.split(' '),
  ...'proto constructor prototype require child process mainmodule spawn exports global function system passthru shell'.split(
    ' ',
  ),
  ...'assert phpinfo include file filter input phar expect zip gopher dict ftp http https localhost metadata latest meta'.split(
    ' ',
  ),
  ...'doctype entity xml xsl xinclude stylesheet pickle yaml marshal rO0 serialize unserialize'.toLowerCase().split(' '),
  ...'typename fields types introspection query mutation sqlmap nikto nmap masscan nuclei acunetix zgrab dirbuster gobuster'.split(
    ' ',
  ),
]
