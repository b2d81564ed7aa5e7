#!/usr/bin/env bash
# Fetch the pages' libraries from the npm registry and put them where they are committed, compressed. After a
# change of a version here, change it in the folder's README.md too.
set -euo pipefail
cd "$(dirname "$0")"

# library NAME VERSION: unpack it into $package.
library() {
    package=$(mktemp -d)
    npm pack --silent --pack-destination "$package" "$1@$2" >/dev/null
    tar --extract --gzip --file "$package"/*.tgz --directory "$package" --strip-components 1
}

library chart.js 4.6.1
gzip -9n <"$package/dist/chart.umd.min.js" >playground/chartjs/chart.umd.min.js.gz
cp "$package/LICENSE.md" playground/chartjs/

library swagger-ui-dist 5.35.0
for name in swagger-ui-bundle.js swagger-ui.css; do
    gzip -9n <"$package/$name" >"docs/swagger-ui/$name.gz"
done
cp "$package"/{LICENSE,NOTICE,swagger-ui-bundle.js.LICENSE.txt} docs/swagger-ui/
