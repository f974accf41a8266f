"""A webhook receiver: what notification-controller is to the others."""
import json

from cluster.process import until
from peers.http import Handler, Server


class Sink:
    """events: the JSON bodies that were posted to url; headers beside them. status: what it answers; before: what it does first."""

    def __init__(self, certificate=None):
        self.events, self.headers, self.status, self.before = [], [], 202, lambda: None
        outer = self

        class SinkHandler(Handler):
            def do_POST(self):
                body = self.body()
                outer.before()
                outer.headers.append(dict(self.headers))
                outer.events.append(json.loads(body))
                self.answer(outer.status)

        self.server = Server(SinkHandler, certificate)
        self.port, self.url = self.server.port, self.server.url + "/"

    def about(self, kind=None, name=None, namespace=None, reason=None):
        def matches(event):
            involved = event["involvedObject"]
            return ((not kind or involved["kind"] == kind) and (not name or involved["name"] == name) and (not namespace or involved["namespace"] == namespace)
                    and (not reason or event["reason"] == reason))
        return [event for event in list(self.events) if matches(event)]

    def wait(self, seconds=15, **what):
        """The first event that matches."""
        return until(lambda: self.about(**what), seconds, f"an event {what}")[0]

    def close(self):
        self.server.close()
