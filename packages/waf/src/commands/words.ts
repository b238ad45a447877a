/** Commands of Unix shells and of Windows, by how far the name alone says that a shell is meant. */
export type CommandKind =
  /** No word of a language, no name of a field: counts without arguments. */
  | 'plain'
  /** A word or a field's name as well: counts without arguments only where nothing else stands. */
  | 'weak'
  /** Counts with an argument that prose does not have. */
  | 'argued'

export const COMMANDS: ReadonlyMap<string, CommandKind> = new Map([
  ...kind(
    'plain',
    'whoami ifconfig ipconfig uname netstat systeminfo tasklist printenv mkfifo lsb_release hostnamectl useradd usermod kubectl iptables systemctl nslookup getent arp hostid lscpu lsblk lsof lspci logname qwinsta quser msconfig mstsc get-process get-childitem taskkill wmic calc.exe notepad.exe cmd.exe shutdown reboot dmesg',
  ),
  ...kind(
    'weak',
    'id ls pwd dir ps w env set date hostname who sh bash df ver calc last finger groups uptime free history jobs netsh route',
  ),
  ...kind(
    'argued',
    'cat wget curl nc ncat netcat telnet ssh scp sftp ftp tftp dig host ping ping6 traceroute tracert ip zsh dash ksh csh tcsh python python2 python3 perl ruby php node lua gcc cc make awk gawk mawk sed grep egrep fgrep find locate xargs tee sort uniq head tail tac rev nl od xxd hexdump strings base64 base32 less more most vi vim nano ed emacs dd tar zip unzip gzip gunzip bzip2 cp mv rm ln mkdir rmdir touch chmod chown chgrp chattr stat file wc cut paste tr diff printf echo kill killall pkill nice nohup timeout sleep usleep sudo su doas passwd crontab at batch mount umount export alias eval exec source test true false trap type which whereis whatis man busybox socat openssl rsync docker podman aws gcloud az git svn service screen tmux nmap tcpdump expect script strace ltrace gdb sqlite3 mysql psql mongo redis-cli mail sendmail mutt lynx links w3m fetch apt apt-get yum dnf apk pip npm copy xcopy move del erase ren rd md attrib cd start net sc reg schtasks certutil bitsadmin powershell powershell.exe pwsh cmd cscript wscript mshta rundll32 regsvr32 msiexec cacls icacls robocopy tree find findstr for if while until do then chdir time wevtutil vssadmin runas get-content get-item start-process start-sleep invoke-expression invoke-webrequest iex iwr gci gc installutil',
  ),
])

/** Commands that show a file. */
export const READERS: ReadonlySet<string> = words(
  'cat tac nl head tail less more sort uniq strings od xxd hexdump base64 base32 grep egrep fgrep awk sed cut paste rev diff type file cp mv ls find wc tee vi vim ed dd tar curl wget nc xargs source get-content gc findstr copy dir chmod chown rm ln stat',
)

/** Commands that fetch or send. */
export const SENDERS: ReadonlySet<string> = words(
  'curl wget nc ncat netcat telnet ssh scp sftp ftp tftp dig host nslookup socat lynx links w3m fetch rsync',
)

export const SHELLS: ReadonlySet<string> = words('sh bash zsh dash ksh csh tcsh ash fish')

export const INTERPRETERS: ReadonlySet<string> = words('python python2 python3 perl ruby php node lua awk gawk')

/** Names that are no words of a language: with an argument they count where nothing else stands. */
export const UNIX_ONLY: ReadonlySet<string> = words(
  'grep egrep fgrep xargs awk gawk sed chown chmod chgrp wget curl nc ncat netcat scp telnet tftp mkdir rmdir base64 perl php gcc sudo rm cp mv tar gzip mysql psql',
)

/** Commands whose argument is a bare number. */
export const NUMBERED: ReadonlySet<string> = words('sleep usleep timeout kill start-sleep nice')

/** Second words that make a command of a first word that alone says nothing. */
export const SUBCOMMANDS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['ps', words('aux ax -ef auxww')],
  ['netsh', words('firewall advfirewall interface wlan')],
  ['net', words('user users view share localgroup group accounts session use start stop config statistics time')],
  ['sc', words('query stop start create config delete qc')],
  ['reg', words('query add delete save export import')],
  ['ip', words('addr address a route link neigh r')],
  ['docker', words('ps run exec images inspect')],
  ['aws', words('s3 sts iam ec2 configure')],
  ['su', words('root - admin')],
  ['passwd', words('root admin')],
  ['start', words('calc calc.exe notepad notepad.exe cmd cmd.exe powershell')],
  ['echo', words('pwned vulnerable hacked')],
  ['sudo', words('id whoami su bash sh cat ls -l -i -s -u')],
  ['time', words('id whoami ls')],
  ['exec', words('id whoami ls sh bash')],
  ['if', words('[ [[ test')],
  ['while', words('true [ :')],
  ['for', words('i x f')],
])

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(' '))
}

function kind(of: CommandKind, text: string): (readonly [string, CommandKind])[] {
  return text.split(' ').map((word) => [word, of] as const)
}
