import Dataplane
import Foundation
import NIOCore

/// One client: its requests are answered one after the other, in the order they came.
final class Connection {
    private let channel: any Channel
    private let control: Switch
    private let patience: TimeAmount
    private var captures: [Int: CaptureStream] = [:]
    private var captureCount = 0
    private let staged: StagedText
    private var watch: FlowWatchStream?

    init(channel: any Channel, control: Switch, room: StagingRoom, patience: Duration) {
        self.channel = channel
        self.control = control
        staged = StagedText(room: room)
        self.patience = TimeAmount(patience)
    }

    /// Answers until the client has sent its last request, then ends its captures and its watch.
    /// - Throws: when the client is gone before its answer.
    func serve(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws {
        do {
            try await answerAll(inbound)
        } catch {
            await endStreams()
            throw error
        }
        await endStreams()
    }

    /// Says why nobody listens to this client.
    func turnAway(_ reason: String) async throws {
        try await send(Message.line(Message.ErrorAnswer(id: .null, error: .refused(reason))))
    }

    private func answerAll(_ inbound: NIOAsyncChannelInboundStream<ByteBuffer>) async throws {
        var lines = LineBuffer()
        var unfinished: Scheduled<Void>?
        defer { unfinished?.cancel() }
        for try await var piece in inbound {
            lines.append(&piece)
            do {
                var hadLine = false
                while let line = try lines.next() {
                    hadLine = true
                    try await answer(line)
                }
                // The time runs from a line's first byte: sending one byte now and then does not buy more.
                if hadLine || !lines.isPartial {
                    unfinished?.cancel()
                    unfinished = nil
                }
            } catch is LineBuffer.TooLong {
                return try await refuseLongLine()
            }
            if lines.isPartial, unfinished == nil { unfinished = disconnectLater() }
        }
    }

    private func answer(_ line: Data) async throws {
        let call: Message.Call
        do {
            call = try Message.call(line)
        } catch {
            return try await send(Message.line(Message.ErrorAnswer(id: .null, error: error)))
        }
        var answer: Data
        do {
            answer = try await result(of: call, line)
        } catch {
            let failure = error as? Message.Failure ?? .refused(by: error)
            answer = Message.line(Message.ErrorAnswer(id: call.id ?? .null, error: failure))
        }
        if call.id != nil { try await send(answer) }
        for capture in captures.values { capture.begin() }
        watch?.begin()
    }

    /// - Throws: `Message.Failure`, or why the switch refuses.
    private func result(of call: Message.Call, _ line: Data) async throws -> Data {
        let id = call.id ?? .null
        switch call.method {
        case CaptureStart.method:
            let response = try await startCapture(try Message.parameters(CaptureStart.self, line))
            return Message.line(id: id, result: response)
        case CaptureStop.method:
            let response = try await stopCapture(try Message.parameters(CaptureStop.self, line))
            return Message.line(id: id, result: response)
        case FlowStage.method:
            let response = try stage(try Message.parameters(FlowStage.self, line))
            return Message.line(id: id, result: response)
        case FlowWatch.method:
            let response = try await watchFlows(try Message.parameters(FlowWatch.self, line))
            return Message.line(id: id, result: response)
        default:
            guard let method = Method.all[call.method] else { throw Message.Failure.unknownMethod(call.method) }
            return try await method(control, id, line, staged: staged.take)
        }
    }

    // MARK: Captures

    private func startCapture(_ request: CaptureStart) async throws -> CaptureStart.Response {
        let capture = try await control.startCapture(request)
        captureCount += 1
        captures[captureCount] = CaptureStream(number: captureCount, capture: capture, channel: channel)
        return CaptureStart.Response(capture: captureCount)
    }

    private func stopCapture(_ request: CaptureStop) async throws -> CaptureStop.Response {
        guard let stream = captures.removeValue(forKey: request.capture) else {
            throw Refusal(
                "capture \(request.capture) does not run on this connection: capture.start names those that do"
            )
        }
        let captured = await stream.finish()
        await control.endCapture(stream.capture)
        return CaptureStop.Response(captured: captured, lost: stream.capture.lost)
    }

    private func endStreams() async {
        for stream in captures.values {
            stream.cancel()
            await control.endCapture(stream.capture)
        }
        guard let watch else { return }
        watch.cancel()
        await control.endWatch(watch.watcher)
    }

    // MARK: Flows

    private func stage(_ request: FlowStage) throws -> FlowStage.Response {
        try staged.append(request.text)
        return FlowStage.Response(length: staged.length)
    }

    private func watchFlows(_ request: FlowWatch) async throws -> Done {
        guard watch == nil else { throw Refusal("this connection watches flows already: open another one") }
        watch = FlowWatchStream(watcher: try await control.watchFlows(request), channel: channel)
        return Done()
    }

    // MARK: Sending

    /// Returns when the kernel has all of it, so that at most one answer waits for a client.
    private func send(_ line: Data) async throws {
        let watch = disconnectLater()
        let written = channel.eventLoop.makePromise(of: Void.self)
        channel.writeAndFlush(ByteBuffer(bytes: line), promise: written)
        // On the event loop: a busy machine that resumes this task late is not the client's fault.
        written.futureResult.whenComplete { _ in watch.cancel() }
        try await written.futureResult.get()
    }

    private func refuseLongLine() async throws {
        let words = "the line is longer than \(LineBuffer.maximumLength) bytes: the connection ends here"
        try await send(Message.line(Message.ErrorAnswer(id: .null, error: .noRequest(words))))
    }

    private func disconnectLater() -> Scheduled<Void> {
        channel.eventLoop.scheduleTask(in: patience) { [channel] in channel.close(promise: nil) }
    }
}
