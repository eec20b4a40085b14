# bash completion for spacetime: commands, options, servers, database names, reducers.
# Install as /usr/share/bash-completion/completions/spacetime, or source it.

_spacetime_options() {
  case $1 in
    init) echo --lang --project-path --local --non-interactive ;;
    build) echo --module-path --debug ;;
    publish) echo --module-path --bin-path --delete-data --break-clients --build-options --dry-run --sql --json --yes --server --anonymous --no-config ;;
    call) echo --server --anonymous --yes --no-config ;;
    sql) echo --interactive --format --confirmed --server --anonymous --yes --no-config ;;
    subscribe) echo --num-updates --timeout --print-initial-update --confirmed --server --anonymous --yes --no-config ;;
    describe) echo --json --server --anonymous --yes --no-config ;;
    start) echo --data-dir --listen-addr --pg --key-dir --call-timeout-ms --worker-memory --database-memory --transaction-rows --transaction-bytes --call-memory --log-rate --log-bytes --log-files --connections-per-client --connections-per-database --subscriptions-per-connection --disk-reserve --idle-close-ms --procedures-max --procedure-cpu-ms --view-timeout-ms --egress --egress-allow --publish-from --publish-owners --allow-unsandboxed ;;
    logs) echo --follow --num-lines --format --level --level-exact --server --yes --no-config ;;
    list) echo --server --yes ;;
    rename) echo --to --server --yes ;;
    delete) echo --server --yes --no-config ;;
    login) echo --server-issued-login --token --server ;;
    'migrate history') echo --num-lines --plan --sql --json --server --yes --no-config ;;
    'server add') echo --url --default --no-fingerprint ;;
    'server edit') echo --new-name --url --no-fingerprint --yes ;;
    'server fingerprint') echo --yes ;;
    'server status') echo --json --server ;;
  esac
}

_spacetime_servers() { "$1" server list 2>/dev/null | sed 1d | awk '{print $NF}'; }

# Only with a token: asking must not log in. Answers are kept for a minute.
_spacetime_databases() {
  local now=$SECONDS
  if [[ -z ${_spacetime_databases_at-} || $((now - _spacetime_databases_at)) -gt 60 ]]; then
    _spacetime_databases_kept=
    if "$1" login show 2>/dev/null | grep -q '^You are logged in as'; then
      _spacetime_databases_kept=$(timeout 2 "$1" list 2>/dev/null | sed '1,4d' | cut -d'|' -f1 | tr -d ' ' | tr ',' ' ')
    fi
    _spacetime_databases_at=$now
  fi
  echo "$_spacetime_databases_kept"
}

_spacetime_reducers() {
  "$1" login show 2>/dev/null | grep -q '^You are logged in as' || return
  timeout 2 "$1" describe "$2" 2>/dev/null | sed -n '/called by the host/d; s/^reducer \([^(]*\)(.*/\1/p'
}

_spacetime() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} program=${COMP_WORDS[0]} command= sub= i n=0 first=
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --root-dir | --config-path) ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $command ]]; then command=${COMP_WORDS[i]}
        elif [[ $command =~ ^(server|migrate)$ && -z $sub ]]; then sub=${COMP_WORDS[i]}
        else ((n++)); [[ -n $first ]] || first=${COMP_WORDS[i]}; fi ;;
    esac
  done
  case $prev in
    -s | --server | --server-issued-login) COMPREPLY=($(compgen -W "$(_spacetime_servers "$program")" -- "$cur")); return ;;
    -p | --module-path | --project-path | --data-dir | --key-dir | --root-dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
    -b | --bin-path | --config-path) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    --format) COMPREPLY=($(compgen -W 'text json' -- "$cur")); return ;;
    --confirmed) COMPREPLY=($(compgen -W 'true false' -- "$cur")); return ;;
    --egress) COMPREPLY=($(compgen -W 'on off' -- "$cur")); return ;;
    --publish-from) COMPREPLY=($(compgen -W 'loopback anywhere' -- "$cur")); return ;;
    -l | --level) [[ $command == logs ]] && { COMPREPLY=($(compgen -W 'trace debug info warn error panic' -- "$cur")); return; } ;;
    --lang) COMPREPLY=($(compgen -W c -- "$cur")); return ;;
  esac
  if [[ -z $command ]]; then
    COMPREPLY=($(compgen -W 'init build publish migrate call sql subscribe describe start logs list rename delete server login logout version help
      --root-dir --config-path --help --version' -- "$cur"))
  elif [[ $command == server && -z $sub ]]; then
    COMPREPLY=($(compgen -W 'list add remove set-default edit ping fingerprint status' -- "$cur"))
  elif [[ $command == migrate && -z $sub ]]; then
    COMPREPLY=($(compgen -W history -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$(_spacetime_options "$command${sub:+ $sub}") --help" -- "$cur"))
  else
    case $command$n in
      publish0 | migrate0 | call0 | sql0 | subscribe0 | describe0 | logs0 | delete0) COMPREPLY=($(compgen -W "$(_spacetime_databases "$program")" -- "$cur")) ;;
      call1) COMPREPLY=($(compgen -W "$(_spacetime_reducers "$program" "$first")" -- "$cur")) ;;
      describe1) COMPREPLY=($(compgen -W 'table reducer' -- "$cur")) ;;
      login0) COMPREPLY=($(compgen -W show -- "$cur")) ;;
      help0) COMPREPLY=($(compgen -W 'init build publish migrate call sql subscribe describe start logs list rename delete server login logout version' -- "$cur")) ;;
      server0) [[ $sub == add || $sub == list ]] || COMPREPLY=($(compgen -W "$(_spacetime_servers "$program")" -- "$cur")) ;;
    esac
  fi
}
complete -F _spacetime spacetime
