"""``report/index.html``: one file for a browser, which needs no network and no server."""
