"""GStreamer's RTSP server, with a password. Debian's Python runs it, because that has the bindings.

Argument: the port, 0 for any free port. It prints the port when it is ready.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=15/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "user")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("me", "secret"), token)
server.set_auth(auth)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(PIPELINE)
factory.set_shared(True)
role = Gst.Structure.new_empty("user")
for right in ("media.factory.access", "media.factory.construct"):
    role.set_value(right, True)
factory.add_role_from_structure(role)
server.get_mount_points().add_factory("/stream", factory)
if not server.attach(None):
    sys.exit("the port is not free")
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
