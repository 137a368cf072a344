# What zsh offers behind a command line that is being typed, one a line: zsh -f zsh_offers.zsh COMPLETION_SCRIPT 'COMMAND LINE'
# Keeps what it knows of zsh's own completions in COMPLETION_SCRIPT.dump, which saves half a second.
zmodload zsh/zpty
export script=$1 ZDOTDIR=$(mktemp -d)
cat >$ZDOTDIR/.zshrc <<'RC'
autoload -Uz compinit && compinit -C -d $script.dump
source $script
# Notes what is added, by those calls that add something.
compadd() {
  local -a matches before=("${(@)@[1,${@[(i)(-|--)]}-1]}")
  (( ${before[(I)-[OAD]]} )) || { builtin compadd -O matches "$@"; offers+=($matches); }
  builtin compadd "$@"
}
_offers() {
  local -a offers
  _main_complete
  print -rl -- $offers >$ZDOTDIR/offers
  print offered
}
zle -C offers list-choices _offers
bindkey '^I' offers
PROMPT=read'y'
RC
zpty shell zsh -d -i
zpty -r -m shell seen '*ready*'
zpty -w -n shell "$2"$'\t'
zpty -r -m shell seen '*offered*'
zpty -d shell
print -rl -- ${(f)"$(<$ZDOTDIR/offers)"}
rm -r $ZDOTDIR
