#!/usr/bin/env bash
# Brings the vendored front-end files in, at pinned versions, and writes README.md beside them.
# Needs bash, npm, tar and openssl. To move to another version: change its line below, run, and read the diff.
set -euo pipefail
cd "$(dirname "$0")"

# name@version  SHA-512 of the npm tarball, in base64
BOOTSTRAP=(bootstrap@5.3.9 20cU0rcfw8WdxtVbmfU+xT2EjvVTw9Ror/h1Qvd7DXCujRg8OO9mdBCsmTHdJFf3BuadmBNJtgIuUXsBqSkk/w==)
HTMX=(htmx.org@2.0.11 Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==)
DROPZONE=(dropzone@6.3.5 voAoyVj3ZyFwoUVkKMmtfCrp7gbjqKJv3gNCsz0lW1lApcmKILBCbCgBU64hJF4LC4+cs6+peXhsn122fPQqsw==)
LUCIDE=(lucide-static@1.62.0 WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==)

ICONS=(
  images image-off upload folder-up file-archive tag tags
  check check-check x ban pencil undo-2 skip-forward
  circle-check circle-x circle-slash circle-dashed circle-help loader-circle
  chevron-left chevron-right chevron-down arrow-left arrow-right
  search list-filter sparkles
  download copy trash-2 plus refresh-cw play clock history
  settings user-plus log-out key-round shield keyboard book-open
  message-square at-sign
  sun moon info triangle-alert
  lasso hand zoom-in zoom-out maximize
)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Fetches one package, refuses it unless it is the very tarball pinned above, unpacks it to $work/NAME.
fetch() {
  local package=$1 expected=$2 tarball actual
  tarball=$(cd "$work" && npm pack "$package" --silent)
  actual=$(openssl dgst -sha512 -binary "$work/$tarball" | openssl base64 -A)
  if [[ $actual != "$expected" ]]; then
    echo "$package: the tarball is not the pinned one (sha512-$actual)" >&2
    exit 1
  fi
  mkdir -p "$work/${package%@*}"
  tar -xzf "$work/$tarball" -C "$work/${package%@*}" --strip-components=1
}

# Copies one file. A source map comment names a file that is not here, which Django's manifest storage refuses.
keep() {
  mkdir -p "$(dirname "$2")"
  sed -E 's@/\*# sourceMappingURL=[^*]*\*/@@; s@//# sourceMappingURL=.*$@@' "$work/$1" >"$2"
}

# One file for all icons: each becomes a <symbol> named after it. Line width is left to the page's CSS.
sprite() {
  local icon source
  echo '<svg xmlns="http://www.w3.org/2000/svg">'
  for icon in "${ICONS[@]}"; do
    source="$work/lucide-static/icons/$icon.svg"
    if [[ ! -f $source ]]; then
      echo "lucide has no icon named $icon" >&2
      exit 1
    fi
    printf '<symbol id="%s" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round">' "$icon"
    # The shapes are what stands between the opening tag and the closing one.
    awk '/<\/svg>/ { inside = 0 } inside { sub(/^ +/, ""); printf "%s", $0 } /^>/ { inside = 1 }' "$source"
    echo '</symbol>'
  done
  echo '</svg>'
}

# README rows of one package: its name, version, licence, tarball, then its files with their SHA-256.
describe() {
  local package=$1 integrity=$2 licence=$3 folder=$4 name version file
  name=${package%@*} version=${package#*@}
  printf '\n## %s %s\n\nLicence: %s (`%s/LICENSE`). From `%s-%s.tgz`, `sha512-%s`.\n\n| file | sha256 |\n|---|---|\n' \
    "$name" "$version" "$licence" "$folder" "$name" "$version" "$integrity"
  for file in "$folder"/*; do
    printf '| `%s` | `%s` |\n' "$file" "$(openssl dgst -sha256 -r "$file" | cut -d' ' -f1)"
  done
}

fetch "${BOOTSTRAP[@]}"
fetch "${HTMX[@]}"
fetch "${DROPZONE[@]}"
fetch "${LUCIDE[@]}"

rm -rf bootstrap htmx dropzone lucide
keep bootstrap/dist/css/bootstrap.min.css bootstrap/bootstrap.min.css
keep bootstrap/dist/js/bootstrap.bundle.min.js bootstrap/bootstrap.bundle.min.js
keep bootstrap/LICENSE bootstrap/LICENSE
keep htmx.org/dist/htmx.min.js htmx/htmx.min.js
keep htmx.org/LICENSE htmx/LICENSE
keep dropzone/dist/dropzone-min.js dropzone/dropzone.min.js
keep dropzone/LICENSE dropzone/LICENSE
keep lucide-static/LICENSE lucide/LICENSE
sprite >lucide/icons.svg

{
  echo '# Vendored front-end files'
  echo
  echo 'Written by `update.sh`: do not edit these files, change the script and run it. They are the published files,'
  echo 'with the source map comment taken out; `lucide/icons.svg` holds only the icons that the script lists.'
  describe "${BOOTSTRAP[@]}" MIT bootstrap
  describe "${HTMX[@]}" 0BSD htmx
  describe "${DROPZONE[@]}" MIT dropzone
  describe "${LUCIDE[@]}" 'ISC, some icons MIT' lucide
} >README.md
