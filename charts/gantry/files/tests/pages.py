"""Ask each URL of the arguments; end with 1 unless all are answered 200."""

import sys
import urllib.error
import urllib.request

failed = 0
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = answer.status
    except urllib.error.HTTPError as error:
        said = error.code
    except OSError as error:
        said = error
    print(f"{url}: {said}")
    failed += said != 200
sys.exit(1 if failed else 0)
